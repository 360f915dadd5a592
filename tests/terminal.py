"""The command line on a terminal of its own, as a person has it: what it draws, and Ctrl-C."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

LIMIT = 300
"""Seconds that nothing here takes even on a busy machine."""


class Terminal:
    """A command whose output and keyboard are a terminal of 120 columns."""

    def __init__(self, command: list[str], cwd: Path, env: dict[str, str]) -> None:
        self.ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "expander.cli", *command], cwd=cwd, env=env,
            stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509 (ours to take)
        )  # fmt: skip
        os.close(theirs)
        self.drawn = b""
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        try:
            while some := os.read(self.ours, 65536):
                self.drawn += some
        except OSError:  # nobody has the terminal any more
            return

    @property
    def lines(self) -> list[str]:
        """All that was ever shown, those drawn over each other one below the other."""
        plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", self.drawn.decode(errors="replace"))
        return [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]

    def press_ctrl_c(self) -> None:
        """The signal goes to all processes of the terminal, as the kernel does it."""
        os.write(self.ours, b"\x03")

    def end(self) -> int:
        """The exit code."""
        code = self.process.wait(LIMIT)
        self.reader.join(10)
        os.close(self.ours)
        return code
