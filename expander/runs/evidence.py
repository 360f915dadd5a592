"""What every validation video says of a trial, as hex text: a bit each, or of several labels its credit.

A bit: whether the most probable class was right. Its credit: what it gives to mAP
(`metrics.average_precision.credits`), 64 bits each. Either way the mean over the videos is what the trial
is good for, so a search compares both alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

DIGITS = 16
"""Of a credit."""


def pack_bits(bits: Iterable[bool]) -> str:
    """Booleans as hex, the first one in the highest bit of the first digit, padded with zeros."""
    text = "".join("1" if bit else "0" for bit in bits)
    digits = -(-len(text) // 4)
    return f"{int(text.ljust(4 * digits, '0'), 2):0{digits}x}" if text else ""


def unpack_bits(packed: str, count: int) -> npt.NDArray[np.uint8]:
    """(count,) ones and zeros of `pack_bits`. Raises ValueError for another length."""
    if len(packed) != -(-count // 4):
        raise ValueError(f"{len(packed)} hex digits cannot hold {count} bits")
    whole = bytes.fromhex(packed + "0" * (len(packed) % 2))
    return np.unpackbits(np.frombuffer(whole, np.uint8))[:count]


def pack_credits(values: Sequence[float]) -> str:
    """Numbers as hex, big-endian doubles one after another."""
    return np.asarray(values, ">f8").tobytes().hex()


def holds_credits(packed: str, count: int) -> bool:
    """Whether the text is as long as `count` credits; bits are a quarter of a digit each."""
    return len(packed) == DIGITS * count


def by_video(packed: str, count: int) -> npt.NDArray[np.float64]:
    """(count,) of what `pack_bits` or `pack_credits` made. Raises ValueError for another length."""
    if not holds_credits(packed, count):
        return unpack_bits(packed, count).astype(np.float64)
    return np.frombuffer(bytes.fromhex(packed), ">f8").astype(np.float64)
