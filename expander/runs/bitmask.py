"""Booleans as hex text: which videos of a list were right, in a quarter of the characters."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt


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
