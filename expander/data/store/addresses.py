"""Addresses of a store, such as `s3://bucket/videos`, also as paths: `Path("s3:/bucket/videos")`.

As a path an address goes everywhere that files of this machine go: into lists, pickles and messages.
"""

from __future__ import annotations

import os
import re

from expander.errors import UsageError

SCHEMES = ("s3", "gs", "hdfs", "https", "http")
ADDRESS = re.compile(rf"(?s)({'|'.join(SCHEMES)}):/+(.+)")


def address_of(path: str | os.PathLike[str]) -> str | None:
    """The address that a path or a text is; none for what lies on this machine."""
    found = ADDRESS.fullmatch(os.fspath(path))
    return found and f"{found[1]}://{found[2]}"


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether a path is an address."""
    return ADDRESS.fullmatch(os.fspath(path)) is not None


def checked(address: str) -> str:
    """An address as it is kept. Raises UsageError for one that may hold a password or a signature: it would
    stand in the run's settings and messages.
    """
    scheme, _, rest = address.partition("://")
    host = rest.partition("/")[0]
    key = scheme in ("s3", "gs") and ":" in host  # no bucket has one in its name
    if key or "@" in host or "?" in rest or "#" in rest:
        plain = f"{scheme}://" + ("…" if key else host.rpartition("@")[2])
        raise UsageError(f"{plain}: an address with a user, a password or a query is not taken, for it would "
                         "be kept in the run; give them to the library: AWS_ACCESS_KEY_ID, ~/.aws, "
                         "GOOGLE_APPLICATION_CREDENTIALS (docs/scale.md)")  # fmt: skip
    return f"{scheme}://{rest.rstrip('/')}"
