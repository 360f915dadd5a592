"""Machine code of kernels on disk, each file with its SHA-256: what is damaged is compiled anew, never run.

A cache may be lost at any time: an empty, cut or foreign file and a full disk are warned of once, no more.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba.core.caching import FunctionCache, IndexDataCacheFile

log = logging.getLogger(__name__)
DIGEST = hashlib.sha256().digest_size
_warned: list[object] = []


def warn_once(place: object, error: object) -> None:
    """Says once in a process that kernels on disk are of no use, and why."""
    if not _warned:
        log.warning("%s: kept kernels cannot be used or written: %s; they are compiled anew", place, error)
        _warned.append(place)


def _proven(content: bytes) -> Any:
    """What was written. Raises ValueError for a file that is damaged."""
    if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
        raise ValueError("damaged, its SHA-256 is another")
    return pickle.loads(content[DIGEST:])


class ProvenFiles(IndexDataCacheFile):  # type: ignore[misc]
    """Numba's two files of a kernel, the index and the code, with a digest at the head of each."""

    def _load_index(self) -> dict[Any, Any]:
        try:
            content = Path(self._index_path).read_bytes()
        except FileNotFoundError:
            return {}
        version, stamp, overloads = _proven(content)
        return dict(overloads) if (version, stamp) == (self._version, self._source_stamp) else {}

    def _save_index(self, overloads: dict[Any, Any]) -> None:
        self._save(self._index_path, pickle.dumps((self._version, self._source_stamp, overloads)))

    def _load_data(self, name: str) -> Any:
        return _proven(Path(self._data_path(name)).read_bytes())

    def _save_data(self, name: str, data: Any) -> None:
        self._save(self._data_path(name), self._dump(data))

    def _save(self, path: str, content: bytes) -> None:
        with self._open_for_write(path) as file:
            file.write(hashlib.sha256(content).digest() + content)


class KeptCode(FunctionCache):  # type: ignore[misc]
    """Numba's cache of a function, of which nothing that goes wrong stops a computation."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = self._impl.locator.get_source_stamp()
        self._cache_file = ProvenFiles(self._cache_path, self._impl.filename_base, stamp)

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The code for a signature; None where there is none that is whole."""
        try:
            return super().load_overload(sig, target_context)
        except Exception as error:  # unpickling what is foreign may raise anything
            self._discard(error)
            return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keeps the code for a signature, where that can be."""
        try:
            super().save_overload(sig, data)
        except Exception as error:  # as above: the index is read first
            self._discard(error)

    def _discard(self, error: Exception) -> None:
        path = Path(self._cache_file._index_path)
        warn_once(path, error)
        with contextlib.suppress(OSError):
            path.unlink()
