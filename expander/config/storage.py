"""Where trials keep their files, as `backend.storage` says it: a folder, or an address in a store."""

from __future__ import annotations

WRITABLE = ("s3://", "gs://", "hdfs://")
"""Addresses that can be written; what lies at https:// can only be read."""


def check_storage(storage: str | None) -> None:
    """Raises ValueError for an address that cannot be written, or names no bucket."""
    scheme, _, rest = (storage or "").partition("://")
    if rest[:1] in ("", "/") if scheme + "://" in WRITABLE else rest:
        raise ValueError("storage must be a folder that every node has mounted, or an address in a store: "
                         f"{', '.join(WRITABLE)} and a bucket or host; others cannot be written")  # fmt: skip


def store_of(storage: str | None) -> str:
    """The address, without a slash at its end; empty where it is a folder or none."""
    return storage.rstrip("/") if storage and "://" in storage else ""


def mounted(storage: str | None) -> str | None:
    """The folder; none where it is an address or none."""
    return None if store_of(storage) else storage
