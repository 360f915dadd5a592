"""Whether an H.264 stream may hold fields, half pictures: its sequence header says it (ITU-T H.264, 7.3.2.1).

A packet may then be a field, and two of them a frame, which decord counts as two; and colours of two fields
are sampled apart, which decord does not heed.
"""

from __future__ import annotations

HIGH = (44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244)
"""Profiles whose header says how colours are sampled and what scales coefficients."""


def may_be(extradata: bytes) -> bool:
    """Whether the header in an MP4's or Matroska's avcC record permits fields; True if it cannot be read."""
    length = int.from_bytes(extradata[6:8], "big")
    try:
        return not _only_frames(_Bits(extradata[9 : 8 + length].replace(b"\0\0\3", b"\0\0")))
    except IndexError:
        return True


class _Bits:
    def __init__(self, data: bytes) -> None:
        self.data, self.place = data, 0

    def take(self, count: int) -> int:
        found = 0
        for _ in range(count):
            found = found << 1 | self.data[self.place >> 3] >> (7 - self.place % 8) & 1
            self.place += 1
        return found

    def number(self) -> int:
        """An unsigned Exp-Golomb number (9.1)."""
        zeros = 0
        while not self.take(1):
            zeros += 1
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        found = self.number()
        return (found + 1) // 2 if found % 2 else -(found // 2)


def _only_frames(bits: _Bits) -> bool:
    """frame_mbs_only_flag, from the header's profile on."""
    profile = bits.take(8)
    bits.take(16)  # constraints and level
    bits.number()  # its id
    if profile in HIGH:
        _colours_and_scales(bits)
    bits.number()  # of frames, modulo
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
    return bool(bits.take(1))


def _colours_and_scales(bits: _Bits) -> None:
    sampled = bits.number()
    if sampled == 3:
        bits.take(1)
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
