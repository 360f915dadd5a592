"""Changes files at random and looks what becomes of them: seeded, so that every input can be made again.

Inputs are tried in a process of their own, a batch at a time: one that hangs or dies costs its batch, and is
named. A change is a bit, a cut, a part that is lost, repeated or moved, or a word that nobody expects.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import random
import re
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from expander.errors import ExpanderError

HANGS = 20
"""Seconds that an input may take."""
BATCH = 25
OWN = ("home/out", "home/runs/")
"""Where a command may write."""
CODES = (0, 2, 3, 4, 5, 6)
WORDS = (
    b"\0", b"\x1b[2J", b"../../evil", b"NaN", b"-1", b"1e309", b"1e-320", b"Infinity", b"null", b"true",
    b"{}", b"[]", b'""', b"9" * 400, b"[" * 100_000, b"x" * 300, b"\xff\xfe", b"\r\n", b"\\ud800", b"1e9",
    b"0", b"  ", b"\t", "\u202e".encode(), b"!!python/object/apply:os.system", b"&a [*a, *a]",
)  # fmt: skip
NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
TEXT = re.compile(rb'"[^"\\]{1,80}"')


def flipped(rng: random.Random, data: bytes) -> bytes:
    """Another bit."""
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def cut(rng: random.Random, data: bytes) -> bytes:
    """Only its beginning."""
    return data[: rng.randrange(len(data))]


def without(rng: random.Random, data: bytes) -> bytes:
    """A part lost."""
    start = rng.randrange(len(data))
    return data[:start] + data[start + rng.choice((1, 4, 64, 1000)) :]


def moved(rng: random.Random, data: bytes) -> bytes:
    """A part again, somewhere else."""
    start, place = rng.randrange(len(data)), rng.randrange(len(data))
    return data[:place] + data[start : start + rng.choice((1, 8, 200))] + data[place:]


def lines_changed(rng: random.Random, data: bytes) -> bytes:
    """A line lost, repeated or exchanged for another."""
    lines = data.split(b"\n")
    one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    how = rng.randrange(3)
    if how == 0:
        del lines[one]
    elif how == 1:
        lines.insert(one, lines[other])
    else:
        lines[one], lines[other] = lines[other], lines[one]
    return b"\n".join(lines)


def with_word(rng: random.Random, data: bytes) -> bytes:
    """A word that nobody expects, in between."""
    place = rng.randrange(len(data) + 1)
    return data[:place] + rng.choice(WORDS) + data[place:]


def _replaced(rng: random.Random, data: bytes, pattern: re.Pattern[bytes], quoted: bool) -> bytes:
    found = list(pattern.finditer(data))
    if not found:
        return data
    one, word = rng.choice(found), rng.choice(WORDS)
    if quoted and rng.random() < 0.5:
        word = b'"' + word + b'"'
    return data[: one.start()] + word + data[one.end() :]


def other_number(rng: random.Random, data: bytes) -> bytes:
    """Such a word instead of a number."""
    return _replaced(rng, data, NUMBER, quoted=False)


def other_text(rng: random.Random, data: bytes) -> bytes:
    """Such a word instead of a text."""
    return _replaced(rng, data, TEXT, quoted=True)


CHANGES = (flipped, cut, without, moved, lines_changed, with_word, other_number, other_text)
VALUES = (other_number, other_text, with_word)
"""What leaves a line a line."""


@dataclass(frozen=True)
class Format:
    """files: as they are whole, by place. changed: which of them is. run: what reads them, in their folder.

    seal: makes a whole file of changed lines, as somebody would who can compute checksums. log: it grows.
    """

    name: str
    files: Mapping[str, bytes]
    changed: str
    run: Callable[[], object]
    seal: Callable[[list[bytes]], bytes] | None = None
    log: bool = False

    def input(self, number: int) -> tuple[bytes, bool]:
        """The changed file of a number, and whether its checksums were made anew."""
        rng, data = random.Random(f"{self.name} {number}"), self.files[self.changed]
        if self.seal is not None and rng.random() < 0.5:
            lines = data.split(b"\n")[:-1]
            place = rng.randrange(len(lines))
            lines[place] = rng.choice(VALUES)(rng, lines[place]).replace(b"\n", b" ")
            with contextlib.suppress(ValueError, RecursionError):
                return self.seal(lines), True
        changed = data
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            changed = rng.choice(CHANGES)(rng, changed or b" ")
        # A log of which whole lines are gone at its end is one that had not come further: no fault.
        shorter = self.log and data.startswith(changed[: changed.rfind(b"\n") + 1])
        return flipped(rng, data) if shorter else changed, False


@dataclass(frozen=True)
class Outcome:
    """Of one input. code: -1 for an exception that nobody caught. elsewhere: files that are new."""

    number: int
    sealed: bool
    same: bool
    code: int
    said: str
    errors: str
    elsewhere: list[str]

    def fault(self, whole: str) -> str:
        """What is wrong with it; whole: what is said of the unchanged file."""
        lines = [line for line in self.errors.splitlines() if not line.startswith("WARNING: ")]
        text = self.said + self.errors
        if self.code not in CODES or "bug in expander" in text or "Traceback" in text:
            return f"no outcome that is documented: {self.code}: {self.errors[-400:]}"
        if self.code and len(lines) != 1:
            return f"no one line: {self.errors[-400:]}"
        if "\x1b" in text or "\0" in text:
            return "it steers the terminal"
        if self.elsewhere:
            return f"it wrote {self.elsewhere}"
        if self.code == 0 and not self.sealed and not self.same and whole and self.said != whole:
            return f"another answer: {self.said[:400]}"
        return ""


def tried(form: Format, numbers: range) -> Iterator[tuple[int, str]]:
    """Numbers of inputs, and what is wrong with them."""
    whole = _batch(form, range(-1, 0))[0].said if form.log else ""
    for first in range(numbers.start, numbers.stop, BATCH):
        batch = range(first, min(first + BATCH, numbers.stop))
        found = _batch(form, batch)
        yield from ((one.number, one.fault(whole)) for one in found)
        if len(found) < len(batch):
            yield batch[len(found)], "it hangs or kills the process"
            yield from tried(form, range(batch[len(found)] + 1, batch.stop))


def _batch(form: Format, numbers: range) -> list[Outcome]:
    """Their outcomes, up to the one that hangs or kills its process."""
    with tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile("w+") as told:
        pid = os.fork()
        if not pid:
            with contextlib.suppress(BaseException):
                _child(form, numbers, Path(place), told)
            os._exit(0)
        os.waitpid(pid, 0)
        told.seek(0)
        return [Outcome(*json.loads(line)) for line in told]


def _child(form: Format, numbers: range, place: Path, told: io.TextIOBase) -> None:
    home = place / "home"
    for number in numbers:
        content, sealed = form.input(number) if number >= 0 else (form.files[form.changed], False)
        for name, whole in form.files.items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if name == form.changed else whole)
        os.chdir(home)
        before = _names(place)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(HANGS)
        code, said, errors = called(form.run)
        signal.alarm(0)
        elsewhere = sorted(name for name in _names(place) - before if not name.startswith(OWN))
        same = content == form.files[form.changed]
        told.write(json.dumps([number, sealed, same, code, said, errors, elsewhere]) + "\n")
        told.flush()


def _names(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def called(run: Callable[[], object]) -> tuple[int, str, str]:
    """Exit code, and what was written to standard output and error."""
    logging.root.handlers.clear()
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run()
            code = 0
        except ExpanderError as error:
            code = error.exit_code
            err.write(f"error: {error}\n")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else int(end.code is not None)
        except BaseException as error:
            code = -1
            err.write(f"{type(error).__name__}: {error}")
    return code, out.getvalue(), err.getvalue()
