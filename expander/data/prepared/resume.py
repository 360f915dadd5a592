"""What of a set is prepared already, and the file that remembers it while the set is being prepared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from expander.data.prepared.manifest import PROGRESS, Outcome, Source, read_outcomes
from expander.data.prepared.originals import Look, content_of
from expander.errors import EnvironmentFault
from expander.runs.machine import cores
from expander.runs.threads import in_order
from expander.video.pictures import stamp
from expander.video.readers import Unreadable
from expander.video.writing.film import digest_of

NONE: Mapping[str, str] = MappingProxyType({})


def finished(
    folder: Path, sources: Sequence[Source], look: Look, verify: bool = False,
    packed: Mapping[str, str] = NONE,
) -> dict[str, Outcome]:  # fmt: skip
    """The outcomes of the videos that are there as they should be, by the names of their sources.

    look: at sources. verify: whether videos are read and compared with their checksums; else their sizes say
    it. packed: those that lie in shards: their paths, by their keys. Raises EnvironmentFault for a store that
    does not answer.
    """
    known = {outcome.name: outcome for outcome in read_outcomes(folder)}

    def one(source: Source) -> Outcome | None:
        outcome = known.get(source.name)
        place = folder / place_of(folder, source, packed)
        return None if outcome is None else _confirmed(folder, place, source, outcome, verify, look)

    outcomes = in_order(one, sources, cores())
    return {outcome.name: outcome for outcome in outcomes if outcome is not None}


def place_of(folder: Path, source: Source, packed: Mapping[str, str]) -> str:
    """Where a video is: in a file of its own, which is newer, or in a shard."""
    alone = not packed or (folder / source.path).exists()
    return source.path if alone else packed.get(source.key, source.path)


def _confirmed(
    folder: Path, file: Path, source: Source, outcome: Outcome, verify: bool, look: Look
) -> Outcome | None:  # fmt: skip
    """The outcome, if its video is there and made of the source as it is now."""
    made = outcome.encoded
    if made is None:
        return None
    with contextlib.suppress(OSError, Unreadable):
        if stamp(file).size != made.bytes or (verify and digest_of(file) != made.sha256):
            return None
        try:
            now = look(source.file)
        except FileNotFoundError:  # originals may be deleted once they are prepared
            return outcome
        if now == (outcome.source_bytes, outcome.source_time):
            return outcome
        if content_of(source.file, folder) == made.source_sha256:  # touched, or copied anew
            return Outcome(source.name, *now, encoded=made)
    return None


class Record:
    """The file of progress, appended to."""

    def __init__(self, out: Path) -> None:
        self.path = out / PROGRESS

    def __enter__(self) -> Record:
        try:
            self.file = self.path.open("a+b")
            self.file.seek(max(0, self.file.tell() - 1))
            if self.file.read(1) not in (b"", b"\n"):  # a line that a kill has cut off
                self._write(b"\n")
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be opened: {error.strerror}") from None
        return self

    def add(self, outcome: Outcome) -> None:
        """One more line. Raises EnvironmentFault."""
        self._write(outcome.line().encode())

    def _write(self, line: bytes) -> None:
        try:
            self.file.write(line)
            self.file.flush()
        except OSError as error:
            raise EnvironmentFault(f"{self.path}: cannot be written: {error.strerror}; what is prepared is "
                                   "kept, the same command goes on") from None  # fmt: skip

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):
            self.file.close()

    def delete(self) -> None:
        """Once the manifest says it all."""
        self.path.unlink(missing_ok=True)
