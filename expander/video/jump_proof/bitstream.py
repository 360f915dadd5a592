"""Headers of H.264 and HEVC, as far as they tell how pictures follow each other (ITU-T H.264 and H.265, 7.3).

Given are the records of headers that MP4 and Matroska keep (ISO 14496-15). For what cannot be read, they
raise IndexError or ValueError.
"""

from __future__ import annotations

from dataclasses import dataclass

HIGH = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
"""Profiles of H.264 whose header says how colours are sampled and what scales coefficients."""
SPS, PPS = 33, 34
"""Types of HEVC's headers of a sequence and of a picture."""


class Bits:
    """Reads a NAL unit's content bit by bit."""

    def __init__(self, data: bytes) -> None:
        data = data.replace(b"\0\0\3", b"\0\0")
        self.value, self.left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        """A number of so many bits."""
        if count > self.left:
            raise IndexError
        self.left -= count
        return self.value >> self.left & ((1 << count) - 1)

    def number(self) -> int:
        """An unsigned Exp-Golomb number (9.1)."""
        zeros = self.left - (self.value & ((1 << self.left) - 1)).bit_length()
        self.take(zeros)
        return self.take(zeros + 1) - 1

    def signed(self) -> int:
        """A signed one."""
        found = self.number()
        return (found + 1) // 2 if found % 2 else -(found // 2)


@dataclass(frozen=True, slots=True)
class H264:
    """only_frames: no fields, half pictures. planes: colours are coded apart. number_bits: of a picture's."""

    only_frames: bool
    planes: bool
    number_bits: int


def h264(extradata: bytes) -> H264:
    """Of the only header of a sequence: of several, any may hold for a picture."""
    if extradata[5] & 31 != 1:
        raise ValueError("several sequences, or none")
    length = int.from_bytes(extradata[6:8], "big")
    bits = Bits(extradata[9 : 8 + length])
    profile = bits.take(8)
    bits.take(16)  # constraints and level
    bits.number()  # its id
    planes = _colours_and_scales(bits) if profile in HIGH else False
    number_bits = bits.number() + 4
    order = bits.number()
    if order == 0:
        bits.number()
    elif order == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(bits.number()):
            bits.signed()
    bits.number()  # reference frames
    bits.take(1)
    bits.number()  # width
    bits.number()  # height
    return H264(bool(bits.take(1)), planes, number_bits)


def may_hold_fields(extradata: bytes) -> bool:
    """Whether a packet may be a field, and two of them a frame, which decord counts as two.

    Colours of two fields are sampled apart, which decord does not heed. True if nobody can tell.
    """
    try:
        return not h264(extradata).only_frames
    except (IndexError, ValueError):
        return True


def _colours_and_scales(bits: Bits) -> bool:
    sampled = bits.number()
    planes = bool(bits.take(1)) if sampled == 3 else False
    bits.number()  # depth of luma
    bits.number()  # of chroma
    bits.take(1)
    for which in range((12 if sampled == 3 else 8) * bits.take(1)):
        if bits.take(1):
            last = scale = 8
            for _ in range(16 if which < 6 else 64):
                if scale:
                    scale = (last + bits.signed()) % 256
                last = scale or last
    return planes


@dataclass(frozen=True, slots=True)
class Hevc:
    """order_bits: of a picture's place in order. extra_bits, shown_bit: what lies before it in a slice."""

    order_bits: int
    extra_bits: int
    shown_bit: int
    planes: bool


def hevc(extradata: bytes) -> Hevc:
    """Of the only header of a sequence, and the first of pictures."""
    units = _arrays(extradata)
    order_bits, planes = _hevc_sequence(Bits(units[SPS][2:]))
    bits = Bits(units[PPS][2:])
    bits.number()  # its id
    bits.number()  # of the sequence
    bits.take(1)
    shown_bit = bits.take(1)
    return Hevc(order_bits, bits.take(3), shown_bit, planes)


def _arrays(extradata: bytes) -> dict[int, bytes]:
    """The first unit of each type."""
    found: dict[int, bytes] = {}
    place = 23
    for _ in range(extradata[22]):
        kind, count = extradata[place] & 63, int.from_bytes(extradata[place + 1 : place + 3], "big")
        place += 3
        for _ in range(count):
            length = int.from_bytes(extradata[place : place + 2], "big")
            if kind == SPS and kind in found:
                raise ValueError("several sequences")
            found.setdefault(kind, extradata[place + 2 : place + 2 + length])
            place += 2 + length
    if not {SPS, PPS} <= set(found):
        raise ValueError("no headers")
    return found


def _hevc_sequence(bits: Bits) -> tuple[int, bool]:
    bits.take(4)
    layers = bits.take(3)  # less one
    bits.take(1)
    bits.take(96)  # profile and level
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.number()  # its id
    planes = bool(bits.take(1)) if bits.number() == 3 else False
    bits.number()  # width
    bits.number()  # height
    if bits.take(1):
        for _ in range(4):
            bits.number()
    bits.number()  # depth of luma
    bits.number()  # of chroma
    return bits.number() + 4, planes
