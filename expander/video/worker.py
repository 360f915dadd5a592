"""Decoding in a process of its own: a file that hangs or crashes its decoder costs that process only.

The child holds one open reader at a time and answers requests on its standard input; pixels come back
through a pipe. FFmpeg's messages go to a log file. No reader is ever shared between processes or forked.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import struct
import subprocess
import sys
import time
import traceback
from dataclasses import asdict
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from expander.video.jumping import has_decord, opened
from expander.video.probe import NotNow, Opened, Verdict, content_of, examine
from expander.video.readers import Frames, Reader, Unreadable
from expander.video.sampling import Indices
from expander.video.tar_members import Held, Unheld, file_of
from expander.video.writing.encoder import Encoded, Encoding, Unwritable, prepare

START_SECONDS = 120
"""For the process to start and import its libraries."""
LOG_BYTES = 10_000_000
"""A log larger than this is begun anew."""
PIXELS = 10_000_000_000
"""A video read from the start has its timeout once more for every so many pixels: 80 s of Full HD at 60."""
CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE)
"""Signals by which a decoder dies of a file."""
FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals by which somebody ends a process."""
TOLD = {Unreadable: "unreadable", NotNow: "fault", Unheld: "fault", Unwritable: "unwritable"}
GRACE = 5
"""Seconds beyond its timeout after which a process whose parent is gone ends itself."""
Memory = Literal["always", "run", "never"]


class Broken(Exception):
    """The process died over a file, or was killed for taking too long; the message says which.

    remember: how long the file is not tried again. Always, where it was surely the file's doing; for this
    run, where a stall, a short timeout or a library that is missing could be the cause; never, where
    somebody ended the process.
    """

    def __init__(self, reason: str, remember: Memory = "run") -> None:
        super().__init__(reason)
        self.remember = remember


class DecodingProcess:
    """The parent's side. timeout: seconds for one request. log: where FFmpeg's messages go."""

    def __init__(self, timeout: float, log: Path | None = None) -> None:
        self.timeout, self.log = timeout, log
        self.child: subprocess.Popen[bytes] | None = None
        self.decord: bool | None = None
        self.last: tuple[object, Opened] | None = None  # the video that is open, by what its file is

    def open(self, path: Path, verdict: Verdict | None = None) -> Opened:
        """Opens a video, examined first if no verdict is known; the one that is open stays so while its file
        is the same. Raises Unreadable or Broken.
        """
        file = file_of(path)
        if self.last is not None and self.last[0] == file:
            return self.last[1]
        found = self._ask({"open": os.fspath(path), "verdict": asdict(verdict) if verdict else None})
        video = Opened(**found | {"fps": Fraction(found["fps"]), "verdict": Verdict(**found["verdict"])})
        self.last = (file, video) if file else None
        return video

    def examine(self, path: Path) -> Verdict:
        """Who may decode a file. Raises Broken."""
        return Verdict(**self._ask({"examine": os.fspath(path)}))

    def has_decord(self) -> bool:
        """Whether decord reads videos here; PyAV reads all of them where not. Raises Broken."""
        if self.decord is None:
            self.decord = bool(self._ask({"has decord": ""})["has decord"])
        return self.decord

    def content(self, path: Path) -> str:
        """See content_of. Raises Broken."""
        return str(self._ask({"content": os.fspath(path)})["content"])

    def gather(self, video: Opened, unique: Indices) -> Frames:
        """(T, H, W, 3) frames of sorted, unique numbers of the open video. Raises Unreadable or Broken."""
        self._ask({"gather": unique.tolist()})
        frames = np.empty((len(unique), video.height, video.width, 3), np.uint8)
        self._receive(memoryview(frames.data).cast("B"))
        return frames

    def keep(self, file: Path) -> None:
        """Writes all frames of the open video into a file, as raw bytes. Raises Unreadable or Broken."""
        self._ask({"keep": os.fspath(file)})

    def prepare(self, source: Path, target: Path, how: Encoding) -> Encoded:
        """See video.encoder.prepare. Raises Unreadable, Broken or Unwritable."""
        return Encoded(**self._ask({"prepare": [os.fspath(source), os.fspath(target)], "how": asdict(how)}))

    def close(self) -> None:
        """Ends the process, at once."""
        self.last = None
        if self.child is not None:
            self.child.kill()
            self.child.wait()
            for pipe in (self.child.stdin, self.child.stdout):
                with contextlib.suppress(OSError):
                    pipe.close()  # type: ignore[union-attr]
            self.child = None

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        child, last = self.child or self._begin(), self.last
        self.last = None
        self.deadline = (begun := time.monotonic()) + self.timeout
        text = json.dumps(request).encode()
        try:
            assert child.stdin is not None
            child.stdin.write(struct.pack("<I", len(text)) + text)
            child.stdin.flush()
        except OSError:
            raise self._died() from None
        while "pixels" in (found := self._hear()):
            self.deadline = begun + self.timeout * (1 + found["pixels"] / PIXELS)
        for kind, word in TOLD.items():
            if word in found:
                raise Broken(found[word]) if kind is NotNow else kind(found[word])
        self.last = last if {"gather", "keep"} & request.keys() else None
        return found

    def _begin(self) -> subprocess.Popen[bytes]:
        """Starts the process and waits until it is ready: a busy machine may take long over that."""
        self.child = _start(self.timeout, self.log)
        self.deadline = time.monotonic() + START_SECONDS
        try:
            self._hear()
        except Broken:
            place = f"; {self.log} may say why" if self.log else ""
            raise Broken(f"the decoding process did not start{place}", "never") from None
        return self.child

    def _hear(self) -> dict[str, Any]:
        size = bytearray(4)
        self._receive(memoryview(size))
        answer = bytearray(struct.unpack("<I", size)[0])
        self._receive(memoryview(answer))
        found: dict[str, Any] = json.loads(answer)
        return found

    def _receive(self, room: memoryview) -> None:
        assert self.child is not None
        assert self.child.stdout is not None
        pipe, done = self.child.stdout.fileno(), 0
        poll = select.poll()
        poll.register(pipe, select.POLLIN)
        while done < len(room):
            left = self.deadline - time.monotonic()
            if left <= 0 or not poll.poll(1000 * left):
                self.close()
                raise Broken(f"decoding it took over {self.timeout:g} s")
            count = os.readv(pipe, [room[done:]])
            if count == 0:
                raise self._died()
            done += count

    def _died(self) -> Broken:
        assert self.child is not None
        code = self.child.wait()
        self.close()
        remember: Memory = "always" if -code in CRASHES else "never" if -code in FROM_OUTSIDE else "run"
        return Broken(f"the decoder crashed over it (exit status {code})", remember)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "child": None, "last": None}

    def __del__(self) -> None:
        self.close()


def _start(timeout: float, log: Path | None) -> subprocess.Popen[bytes]:
    with contextlib.ExitStack() as stack:
        noise: IO[bytes] | int = subprocess.DEVNULL
        with contextlib.suppress(OSError):
            if log is not None:
                log.parent.mkdir(parents=True, exist_ok=True)
                large = log.exists() and log.stat().st_size > LOG_BYTES
                noise = stack.enter_context(log.open("wb" if large else "ab"))
        words = [sys.executable, "-m", "expander.video.worker", str(int(timeout) + GRACE)]
        return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=noise)


def _answer(out: int, found: dict[str, Any], payload: Frames | None = None) -> None:
    text = json.dumps(found).encode()
    parts = [memoryview(struct.pack("<I", len(text)) + text)]
    if payload is not None:
        parts.append(memoryview(np.ascontiguousarray(payload).data).cast("B"))
    for part in parts:
        done = 0
        while done < len(part):
            done += os.write(out, part[done:])


class _Child:
    """The child's side: one open video."""

    reader: Reader

    def __init__(self, out: int, limit: int) -> None:
        self.out, self.limit, self.pixels, self.told = out, limit, 0, 0.0
        self.held = Held()

    def progress(self, pixels: int) -> None:
        """Tells the parent once a second how far it is: a long video may take longer."""
        self.pixels += pixels
        if time.monotonic() - self.told > 1:
            self.told = time.monotonic()
            signal.alarm(self.limit)
            _answer(self.out, {"pixels": self.pixels})

    def reply(self, request: dict[str, Any]) -> None:
        self.pixels, self.told = 0, time.monotonic()
        if "open" in request:
            _answer(self.out, self.open(self.held.file(request["open"]), request["verdict"]))
        elif "examine" in request:
            _answer(self.out, asdict(examine(self.held.file(request["examine"]), self.progress)))
        elif "has decord" in request:
            _answer(self.out, {"has decord": has_decord()})
        elif "content" in request:
            _answer(self.out, {"content": content_of(self.held.file(request["content"]))})
        elif "prepare" in request:
            source, target = self.held.file(request["prepare"][0]), Path(request["prepare"][1])
            _answer(self.out, asdict(prepare(source, target, Encoding(**request["how"]), self.progress)))
        elif "keep" in request:
            frames = self.reader.gather(np.arange(self.reader.length))
            try:
                frames.tofile(request["keep"])
            except OSError as error:
                raise Unreadable(f"its frames cannot be kept: {error.strerror}") from None
            _answer(self.out, {})
        else:
            _answer(self.out, {}, self.reader.gather(np.array(request["gather"], np.int64)))

    def open(self, path: Path, known: dict[str, Any] | None) -> dict[str, Any]:
        verdict = Verdict(**known) if known else examine(path, self.progress)
        if verdict.route == "bad":
            raise Unreadable(verdict.reason)
        self.reader, verdict = opened(path, verdict, self.progress)
        if self.reader.length == 0:
            raise Unreadable("it holds no frames")
        height, width = self.reader.shape or self.reader.gather(np.zeros(1, np.int64)).shape[1:3]
        return {"length": self.reader.length, "height": height, "width": width,
                "fps": str(self.reader.fps), "verdict": asdict(verdict)}  # fmt: skip


def main() -> None:
    """The child's loop; ends when its parent does, and by itself if it hangs and nobody ends it."""
    # What is sent to a whole group of processes is for the parent: it would look like a crash over a file.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    limit = int(sys.argv[1])
    # Whatever a library prints goes to the log; the answers have the pipe for themselves.
    out = os.dup(1)
    os.dup2(2, 1)
    child = _Child(out, limit)
    _answer(out, {})  # ready
    while head := sys.stdin.buffer.read(4):
        signal.alarm(limit)  # its default action works even where the interpreter is stuck
        request = json.loads(sys.stdin.buffer.read(struct.unpack("<I", head)[0]))
        try:
            child.reply(request)
        except tuple(TOLD) as error:
            _answer(out, {TOLD[type(error)]: str(error)})
        except MemoryError:
            _answer(out, {"unreadable": "its frames do not fit into memory"})
        except Exception as error:  # of a library that is missing or not the one that it should be
            traceback.print_exc()
            text = " ".join(str(error).split())[:200]
            _answer(out, {"fault": f"the decoder failed over it: {type(error).__name__}: {text}"})
        signal.alarm(0)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
        main()
