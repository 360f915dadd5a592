"""Whether a frame is missing between two, by the numbers that H.264 and HEVC give their pictures.

A stream that lost packets and was put into a container afterwards has even times, and says nothing of the
loss. A decoder leaves out what it cannot decode; decord counts packets.
"""

from __future__ import annotations

from expander.video.jump_proof import bitstream
from expander.video.jump_proof.bitstream import H264, Bits, Hevc
from expander.video.jump_proof.headers import Units

LEADING = range(6, 10)
"""HEVC's types of pictures that are stored after the one at which decoding begins, and shown before it."""
HEAD = 40
"""Bytes of a unit in which the number of its picture is."""


class Continuity:
    """Takes packets in the order they are stored; of a codec whose pictures have no numbers, any will do."""

    def gap(self, units: Units) -> bool:  # noqa: ARG002
        """Whether pictures are missing before this one, or before the one at which decoding began last."""
        return False

    def end(self) -> bool:
        """The same after the last packet."""
        return False


def continuity(codec: str, extradata: bytes) -> Continuity | None:
    """For a codec; None for headers that cannot be read, or colours coded apart."""
    try:
        if codec == "h264":
            return _Numbers(bitstream.h264(extradata))
        if codec == "hevc":
            return _Orders(bitstream.hevc(extradata))
    except (IndexError, ValueError):
        return None
    return Continuity()


class _Numbers(Continuity):
    """H.264: each picture's number is that of the last one that others refer to, and one more (7.4.3)."""

    def __init__(self, header: H264) -> None:
        if header.planes:
            raise ValueError
        self.bits = header.number_bits
        self.last: int | None = None

    def gap(self, units: Units) -> bool:
        """See Continuity."""
        unit = next((one for one in units if one[0] & 31 in (1, 5)), None)
        if unit is None:  # it begins behind what of the packet is here
            self.last = None
            return False
        bits = Bits(unit[1:HEAD])
        for _ in range(3):  # first block, type, id of the picture's header
            bits.number()
        number, last, begins = bits.take(self.bits), self.last, unit[0] & 31 == 5
        if unit[0] & 0x60:  # others refer to it
            self.last = number
        expected = 0 if begins else number if last is None else (last + 1) % (1 << self.bits)
        return number != expected


class _Orders(Continuity):
    """HEVC: from one beginning to the next the places of pictures in order are even (8.3.1)."""

    def __init__(self, header: Hevc) -> None:
        if header.planes:
            raise ValueError
        self.header, self.span = header, 1 << header.order_bits
        self.orders: list[int] = []
        self.last = 0

    def gap(self, units: Units) -> bool:
        """See Continuity."""
        unit = next((one for one in units if one[0] >> 1 & 63 < 32), None)
        if unit is None:
            return True
        kind = unit[0] >> 1 & 63
        if kind in (19, 20):
            uneven, self.orders, self.last = self.end(), [0], 0
            return uneven
        bits = Bits(unit[2:HEAD])
        bits.take(1)  # the picture's first slice
        if 16 <= kind <= 23:
            bits.take(1)
        bits.number()  # id of the picture's header
        bits.take(self.header.extra_bits)
        bits.number()  # type
        bits.take(self.header.shown_bit)
        low = bits.take(self.header.order_bits)
        order = self.last - self.last % self.span + low
        order += self.span * round((self.last - order) / self.span)
        self.orders.append(order)
        if kind not in LEADING and (kind % 2 or kind >= 16) and unit[1] & 7 == 1:
            self.last = order  # of the lowest layer, and others refer to it
        return False

    def end(self) -> bool:
        """See Continuity."""
        orders = sorted(self.orders)
        step = orders[1] - orders[0] if len(orders) > 1 else 1
        return orders != list(range(0, step * len(orders), step)) if step > 0 else True
