"""What reaches the terminal: lines, warnings, and one line of progress; plain lines, and few, anywhere else.

Names of files and classes are other people's: what would steer a terminal in them is written out, always.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from collections.abc import Iterator
from typing import Any

import click

from expander.errors import EnvironmentFault
from expander.specs.cost_kinds import duration_text
from expander.video.filenames import one_line, printable

CLOSED_PIPE = 141
"""The exit code of a command whose reader is gone, as of others, which SIGPIPE ends."""
STREAMS = ("stdin", "stdout", "stderr")


def say(text: object = "", err: bool = False) -> None:
    """A line, or several. Raises EnvironmentFault for a full disk, SystemExit where nobody reads any more."""
    try:
        click.echo(printable(str(text)), err=err)
    except OSError as error:
        raise unheard(error, err) from None


def unheard(error: OSError, err: bool = False) -> EnvironmentFault | SystemExit:
    """What to end with when a standard stream takes no more; the stream leads nowhere from now on."""
    with contextlib.suppress(OSError, ValueError):  # or Python would try again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), (sys.stderr if err else sys.stdout).fileno())
    if isinstance(error, BrokenPipeError):
        return SystemExit(CLOSED_PIPE)
    name = "standard error" if err else "standard output"
    return EnvironmentFault(f"{name}: cannot be written: {error.strerror}")


def open_streams() -> None:
    """Standard streams that were closed lead nowhere: no file that is opened later takes their place."""
    for number, name in enumerate(STREAMS):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "w" if number else "r", closefd=False))  # noqa: SIM115


class OneLine(logging.Formatter):
    """A warning as one line, whatever names are in it."""

    def format(self, record: logging.LogRecord) -> str:
        """See logging.Formatter."""
        text = super().format(record)
        return text if record.exc_info else one_line(text)


def log_to_terminal() -> None:
    """Warnings go to standard error, a line each."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


class Counter:
    """A context that counts done things of a total. Called with (done, total).

    timed: its first call tells of what was done before, and plain lines say how long it takes on.
    """

    def __init__(self, what: str, unit: str, timed: bool = False) -> None:
        self.what, self.unit, self.timed = what, unit, timed
        self.first: tuple[int, float] | None = None
        self.bar: Any = None
        self.tenth = 0

    def __enter__(self) -> Counter:
        return self

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` now."""
        self.first = self.first or (done if self.timed else 0, time.monotonic())
        if not sys.stderr.isatty():
            if done * 10 // total > self.tenth:
                self.tenth = done * 10 // total
                say(f"{self.what}: {done}/{total}{self._ahead(done, total)}", err=True)
            return
        if self.bar is None:
            from tqdm import tqdm

            self.bar = tqdm(total=total, desc=self.what, unit=self.unit, leave=False,
                            initial=self.first[0])  # fmt: skip
        self.bar.update(done - self.bar.n)

    def _ahead(self, done: int, total: int) -> str:
        before, begun = self.first or (0, 0.0)
        if not self.timed or done in (before, total):
            return ""
        return f", {about((time.monotonic() - begun) * (total - done) / (done - before))} left"

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()


@contextlib.contextmanager
def going_on(kept: bool, how: str = "the same command with --resume") -> Iterator[None]:
    """Says how to go on with what is interrupted, where what was done is kept."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        if kept:
            say(f"stopped; {how} goes on", err=True)
        raise


def about(seconds: float) -> str:
    """A time that is a guess: about 40 s, about 12 min, about 3.5 h."""
    return f"about {duration_text(seconds)}"
