"""Whether one set of headers, so one size of pictures, holds for all of a video, by what its packets say.

decord returns parts of other pictures, or none of them, once the size changes, and wrong ones after a jump
over headers that lie midway. Browsers that record a window, phones that are turned and tools that join films
change them.
"""

from __future__ import annotations

from collections.abc import Callable

PARAMETERS = {"h264": (31, 0, (7, 8)), "hevc": (63, 1, (33, 34))}
"""Of a NAL unit's first byte: the bits that are its type, how far to the left, and the types of headers of
sequences and of pictures (ITU-T H.264 table 7-1, H.265 table 7-1).
"""
LENGTH_AT = {"h264": 4, "hevc": 21}
"""Where an MP4's or Matroska's record of the headers says how long the sizes of units are (ISO 14496-15)."""
VP8_START = b"\x9d\x01\x2a"
VP9_SYNC = b"\x49\x83\x42"
Sized = Callable[[bytes, bool], bytes]
"""From a packet and whether it is a key frame to what it says of the size; b"" if it says nothing."""
Units = list[bytes]
"""The NAL units of a packet, none of them empty; of other codecs the packet."""


def changes(codec: str, extradata: bytes) -> Callable[[Units, bool], bool]:
    """Asked of each packet in turn: whether other headers hold from here on."""
    if codec in PARAMETERS and extradata[:1] == b"\x01":
        mask, shift, wanted = PARAMETERS[codec]
        headers = frozenset(byte for byte in range(256) if byte >> shift & mask in wanted)
        return lambda found, _: any(unit[0] in headers and unit not in extradata for unit in found)
    sized = SIZED.get(codec)
    if sized is None:
        return lambda *_: False
    first = b""

    def other(found: Units, key: bool) -> bool:
        nonlocal first
        size = sized(found[0], key)
        first = first or size
        return size not in (b"", first)

    return other


def splits(codec: str, extradata: bytes) -> Callable[[bytes], Units]:
    """Cuts packets into units, each of which is preceded by its size."""
    if codec not in PARAMETERS or extradata[:1] != b"\x01" or len(extradata) < LENGTH_AT[codec] + 1:
        return lambda data: [data]
    length = (extradata[LENGTH_AT[codec]] & 3) + 1

    def units(data: bytes) -> Units:
        found, place, end = [], 0, len(data)
        while place + length < end:
            begin = place + length
            place = begin + int.from_bytes(data[place:begin], "big")
            if place > begin:
                found.append(data[begin:place])
        return found

    return units


def _vp8(data: bytes, key: bool) -> bytes:
    """RFC 6386, 9.1: width and height with their scales."""
    return data[6:10] if key and data[3:6] == VP8_START else b""


def _vp9(data: bytes, key: bool) -> bytes:
    """VP9's bitstream specification, 6.2: a key frame's size; one that another frame names is another."""
    bits = f"{int.from_bytes(data[:10].ljust(10, bytes(1)), 'big'):080b}"
    if key:
        first = 36 if bits[2:4] == "00" else 39  # profile 1 says how colours are sampled
        return bits[first : first + 32].encode() if data[1:4] == VP9_SYNC else b""
    shown, resilient = bits[6] == "1", bits[7] == "1"
    if bits[4] == "1" or (not shown and bits[8] == "1"):
        return b""  # shows a frame again; or is decoded by itself and not shown
    place = 8 + (not shown) + 2 * (not resilient) + 8 + 12
    return b"another" if bits[place : place + 3] == "000" else b""


SIZED: dict[str, Sized] = {"vp8": _vp8, "libvpx": _vp8, "vp9": _vp9, "libvpx-vp9": _vp9}
