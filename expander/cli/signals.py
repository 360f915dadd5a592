"""Ctrl-C, SIGTERM and the end of the time: trials write checkpoints and stop, then the search ends."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from expander.engine.loop import Stop

GRACE = 6.0
"""Seconds that trials have for their checkpoints before the search ends all the same."""

HARD = 15.0
"""Seconds after which the process ends even from within a call that heeds no signal, as some of Ray's."""

TIME_OVER = "the hours are over"


class Interruption:
    """A context, in the main thread. code: what to exit with; 0 when no signal came.

    The first signal, and the end of `hours`, ask for a stop; the second signal, and the end of the
    grace, raise KeyboardInterrupt.
    """

    def __init__(self, stop: Stop, hours: float | None) -> None:
        self.stop, self.hours, self.code = stop, hours, 0
        self.hard: threading.Timer | None = None

    def __enter__(self) -> Interruption:
        wanted = {signal.SIGINT: self._signal, signal.SIGTERM: self._signal, signal.SIGALRM: self._alarm}
        self.before: dict[int, Any] = {number: signal.signal(number, do) for number, do in wanted.items()}
        if self.hours is not None:
            signal.setitimer(signal.ITIMER_REAL, 3600 * self.hours)
        return self

    def __exit__(self, *_: object) -> None:
        signal.setitimer(signal.ITIMER_REAL, 0)
        if self.hard is not None:
            self.hard.cancel()
        for number, handler in self.before.items():
            # One that was interrupted is about to end: a late second signal must not cost its last words.
            signal.signal(number, signal.SIG_IGN if self.code else handler)

    def _signal(self, number: int, _: FrameType | None) -> None:
        again, self.code = bool(self.code), 128 + number
        if again:
            raise KeyboardInterrupt
        self.stop.ask("interrupted")
        self.hard = threading.Timer(HARD, os._exit, (self.code,))
        self.hard.daemon = True
        self.hard.start()
        # Not by print: the signal may have come in the middle of one.
        os.write(2, b"\nstopping after the checkpoints of the trials; once more to stop at once\n")
        signal.setitimer(signal.ITIMER_REAL, GRACE)

    def _alarm(self, _: int, __: FrameType | None) -> None:
        if self.stop.reason:
            raise KeyboardInterrupt
        self.stop.ask(TIME_OVER)
        signal.setitimer(signal.ITIMER_REAL, GRACE)
