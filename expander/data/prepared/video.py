"""One video of a data set prepared: it appears under its name whole, and only if its source kept still."""

from __future__ import annotations

import contextlib
import os
import uuid
from dataclasses import dataclass
from pathlib import Path

from expander.data.prepared.manifest import FILES, Outcome, Source
from expander.data.prepared.originals import DRAFT, State, at_hand, state_of
from expander.data.store.addresses import is_remote
from expander.errors import EnvironmentFault
from expander.video.readers import Unreadable
from expander.video.worker import Broken, DecodingProcess
from expander.video.writing.encoder import CHANGED, Encoding, Unwritable


@dataclass(frozen=True, slots=True)
class Job:
    """What holds for all videos of a set. folder: of the result. timeout: seconds a video may stand still.
    log: for FFmpeg's messages.
    """

    folder: str
    how: Encoding
    timeout: float
    log: str

    def process(self) -> DecodingProcess:
        """One to prepare videos in, which starts with the first."""
        return DecodingProcess(self.timeout, Path(self.log))


def prepare_video(job: Job, source: Source, process: DecodingProcess) -> Outcome:
    """Prepares one video. A source that is no good is an outcome too.

    Raises EnvironmentFault where the target cannot be written, or a store does not answer; nothing is left of
    the attempt.
    """
    try:
        state = _looked_at(source)
    except Unreadable as error:
        return Outcome(source.name, 0, 0, str(error))
    target = Path(job.folder, source.path)
    draft = target.with_name(f".{uuid.uuid4().hex}{DRAFT}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            encoded = process.prepare(_opened(source, target.parent, stack), draft, job.how)
        if is_remote(source.file) and _looked_at(source) != state:
            raise Unreadable(CHANGED)
        os.replace(draft, target)
    except (Unreadable, Broken) as error:
        return Outcome(source.name, *state, str(error))
    except (OSError, Unwritable) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EnvironmentFault(f"{target}: cannot be written: {reason}; what is prepared is kept, the same "
                               "command goes on") from None  # fmt: skip
    finally:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
    return Outcome(source.name, *state, encoded=encoded)


def _looked_at(source: Source) -> State:
    """A source as it is now. Raises Unreadable, EnvironmentFault."""
    try:
        return state_of(source.file)
    except OSError as error:
        raise Unreadable(_reason(error)) from None


def _opened(source: Source, folder: Path, stack: contextlib.ExitStack) -> Path:
    """A source as a file of this machine. Raises Unreadable, EnvironmentFault."""
    try:
        return stack.enter_context(at_hand(source.file, folder))
    except OSError as error:
        raise Unreadable(_reason(error)) from None


def _reason(error: OSError) -> str:
    gone = isinstance(error, FileNotFoundError)
    return "no such file" if gone else f"cannot be opened: {error.strerror}"


def sweep(folder: Path) -> None:
    """Deletes what processes that were killed have left half written."""
    whole = [draft for name in FILES for draft in folder.glob(f".{name}.*")]  # as write_atomic begins them
    for draft in (*(folder / "videos").glob(f"*/.*{DRAFT}*"), *folder.glob(f".*{DRAFT}*"), *whole):
        with contextlib.suppress(OSError):
            draft.unlink()
