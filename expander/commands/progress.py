"""One line of progress on a terminal; plain lines, and few of them, anywhere else."""

from __future__ import annotations

import sys
from typing import Any

import click


class Counter:
    """A context that counts done things of a total. Called with (done, total)."""

    def __init__(self, what: str, unit: str) -> None:
        self.what, self.unit = what, unit
        self.bar: Any = None
        self.tenth = 0

    def __enter__(self) -> Counter:
        return self

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` now."""
        if not sys.stderr.isatty():
            if done * 10 // total > self.tenth:
                self.tenth = done * 10 // total
                click.echo(f"{self.what}: {done}/{total}", err=True)
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.what, unit=self.unit, leave=False)
        self.bar.update(done - self.bar.n)

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


def duration(seconds: float) -> str:
    """As people say it: about 40 s, about 12 min, about 3.5 h."""
    if seconds < 90:
        return f"about {seconds:.0f} s"
    if seconds < 5400:
        return f"about {seconds / 60:.0f} min"
    return f"about {seconds / 3600:.1f} h"
