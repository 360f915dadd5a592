"""Whether all pictures of a video have one size, by what its packets say.

decord returns parts of other pictures, or none of them, once the size changes. Browsers that record a
window, phones that are turned and tools that join films change it.
"""

from __future__ import annotations

from collections.abc import Callable

SEQUENCE = {"h264": (31, 0, 7), "hevc": (63, 1, 33)}
"""Of a NAL unit's first byte: the bits that are its type, how far to the left, and the type of a header that
tells the size (ITU-T H.264 table 7-1, H.265 table 7-1).
"""
VP8_START = b"\x9d\x01\x2a"
VP9_SYNC = b"\x49\x83\x42"
Sized = Callable[[bytes, bool], bytes]
"""From a packet and whether it is a key frame to what it says of the size; b"" if it says nothing."""


def changes(codec: str, extradata: bytes) -> Callable[[bytes, bool], bool]:
    """Asked of each packet in turn: whether its pictures may have another size than those before."""
    if codec in SEQUENCE and extradata[:1] == b"\x01":
        return _sequence(codec, extradata)
    if codec == "mpeg4":
        return lambda data, key: key and not all(layer in extradata for layer in _layers(data))
    sized = SIZED.get(codec)
    if sized is None:
        return lambda *_: False
    first = b""

    def other(data: bytes, key: bool) -> bool:
        nonlocal first
        found = sized(data, key)
        first = first or found
        return found not in (b"", first)

    return other


def _sequence(codec: str, extradata: bytes) -> Callable[[bytes, bool], bool]:
    mask, shift, wanted = SEQUENCE[codec]
    length = (extradata[4 if codec == "h264" else 21] & 3) + 1

    def other(data: bytes, key: bool) -> bool:
        return key and any(
            unit and unit[0] >> shift & mask == wanted and unit not in extradata
            for unit in units(data, length)
        )

    return other


def units(data: bytes, length: int) -> list[bytes]:
    """NAL units, each of which is preceded by its size in `length` bytes."""
    found, place = [], 0
    while place + length < len(data):
        size = int.from_bytes(data[place : place + length], "big")
        found.append(data[place + length : place + length + size])
        place += length + size
    return found


def _layers(data: bytes) -> list[bytes]:
    """MPEG-4's headers of a video object layer (ISO/IEC 14496-2, table 6-3: start codes 0x20 to 0x2F)."""
    parts = data[:1024].split(b"\0\0\1")
    return [part for part in parts[1:] if part and 0x20 <= part[0] <= 0x2F]


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
