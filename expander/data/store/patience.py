"""Waiting for a store: what fails for a while is asked again, up to PATIENCE seconds, or until a stop.

The library's calls heed no signal, for up to a minute where a store is silent. So each is made in a thread of
its own, and who waits for it looks meanwhile whether the command is to end.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from expander.errors import EnvironmentFault, ExpanderError, first_line
from expander.runs.threads import beside
from expander.video.filenames import one_line

log = logging.getLogger(__name__)
Found = TypeVar("Found")
PATIENCE = 300.0
"""Seconds for which a store may be away before a command gives up."""
FIRST_WAIT, LONGEST_WAIT = 0.5, 20.0
LOOK = 0.2
"""Seconds from look to look whether the command is to end."""
SILENT = 1.5
"""Seconds after which a store does not answer for one that is to end; until then it is only slow."""
TELLS = threading.Lock()
"""Of the threads that wait for a store one tells it."""
DENIED = ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 400",
          "HTTP status 403", "HTTP status 301")  # fmt: skip
"""How AWS says that waiting does not help; 301: the bucket lies in another region than AWS_REGION."""


class Ended(ExpanderError):
    """The command is to end, and what was asked of a store is not waited for any more."""

    exit_code = 130


class Wish:
    """That this process end. asked: by a signal. file: which also says so, of the run that it works for.

    abandoned: whether a call is under way that nobody waits for.
    """

    def __init__(self) -> None:
        self.asked, self.abandoned = False, False
        self.file: Path | None = None

    def heed(self) -> None:
        """Raises Ended if it is wished."""
        if self.asked or (self.file is not None and self.file.exists()):
            raise Ended("stopped while the store did not answer")


WISH = Wish()


def patiently(address: str, ask: Callable[[], Found], whole: bool = False) -> Found:
    """What `ask` gives, asked again while the store is away.

    whole: a call that is answered slowly is not broken off for the end of the command, which it belongs to.
    Raises FileNotFoundError for what is not there, EnvironmentFault for a store that stays away or refuses,
    Ended once the command is to end.
    """
    begun, pause, tells = time.monotonic(), FIRST_WAIT, False
    try:
        while True:
            try:
                return _asked(ask, whole)
            except FileNotFoundError:
                raise
            except (OSError, ImportError) as error:
                reason = _fault(address, error, begun + PATIENCE)
            WISH.heed()
            if not tells and (tells := TELLS.acquire(blocking=False)):
                log.warning("%s: the store does not answer, trying again for up to %g s: %s", address,
                            PATIENCE, reason)  # fmt: skip
            # Not all processes at the same moment.
            again = min(begun + PATIENCE, time.monotonic() + pause * random.uniform(0.5, 1))
            while (left := again - time.monotonic()) > 0:
                WISH.heed()
                time.sleep(min(left, LOOK))
            pause = min(2 * pause, LONGEST_WAIT)
    finally:
        if tells:
            TELLS.release()


def _asked(ask: Callable[[], Found], whole: bool) -> Found:
    begun, answer = time.monotonic(), beside(ask)
    try:
        while not answer.wait(LOOK):
            if not whole and time.monotonic() - begun > SILENT:
                WISH.heed()
    except BaseException:
        WISH.abandoned |= not answer.over
        raise
    return answer.result()


def _fault(address: str, error: Exception, end: float) -> str:
    """What a store says. Raises EnvironmentFault where no more waiting helps."""
    reason = one_line(first_line(error))
    if isinstance(error, PermissionError | ImportError) or any(word in str(error) for word in DENIED):
        raise EnvironmentFault(f"{address}: the store refuses: {reason}") from None
    if time.monotonic() >= end:
        raise EnvironmentFault(f"{address}: the store did not answer for {PATIENCE:g} s: {reason}; "
                               "go on when it is back, nothing is lost") from None  # fmt: skip
    return reason
