"""What `data prepare` asks of a store before it starts, and the room for the originals that it copies."""

from __future__ import annotations

import http.server
import random
import re
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from conftest import Run
from films import film

from expander.data.prepared.originals import AT_ONCE, Listed, sizes_of
from expander.engine.prepare import SAMPLES
from expander.errors import EnvironmentFault


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files of a folder. told: sizes that are told in place of the true ones, by their paths."""

    def __init__(
        self, *given: Any, told: dict[str, int], together: threading.Barrier | None, **more: Any
    ) -> None:
        self.told, self.together = told, together
        super().__init__(*given, **more)

    def do_HEAD(self) -> None:
        if self.together is not None:
            with suppress(threading.BrokenBarrierError):
                self.together.wait(20)
        if self.path.endswith("refused.mp4"):
            self.send_error(403)
        else:
            super().do_HEAD()

    def send_header(self, keyword: str, value: str) -> None:
        if keyword == "Content-Length" and self.command == "HEAD":
            value = str(self.told.get(self.path, value))
        super().send_header(keyword, value)

    def log_message(self, *_: object) -> None:
        """Not told."""


@contextmanager
def serving(
    folder: Path, told: dict[str, int], together: threading.Barrier | None = None
) -> Iterator[str]:
    handler = partial(Handler, directory=str(folder), told=told, together=together)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()


def test_sizes_are_asked_for_together_and_come_in_their_order(tmp_path: Path) -> None:
    """The server answers none before as many are there as may be at once."""
    names = [f"{number}.mp4" for number in range(4 * AT_ONCE)]
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(bytes(7 * number))
    together = threading.Barrier(AT_ONCE)
    with serving(tmp_path, {}, together) as address:
        assert sizes_of([Path(f"{address}/{name}") for name in names], Listed().state_of) == [
            7 * number for number in range(len(names))]  # fmt: skip
        assert not together.broken
    with serving(tmp_path, {}) as address:
        gone = [Path(f"{address}/{name}") for name in ("1.mp4", "gone.mp4", "2.mp4")]
        assert sizes_of(gone, Listed().state_of) == [7, 0, 14]
        with pytest.raises(EnvironmentFault, match=r"refused\.mp4: the store refuses: status 403"):
            sizes_of([*gone, Path(f"{address}/refused.mp4")], Listed().state_of)


def test_the_largest_originals_that_are_copied_at_a_time_count_as_needed(
    expander: Run, tmp_path: Path
) -> None:
    """One that is larger than what is free, while what is made of it would find room."""
    names = [f"{number}.mp4" for number in range(SAMPLES + 3)]
    film(tmp_path / "films" / names[0], 24, size=(240, 320))
    for name in names[1:]:
        shutil.copy(tmp_path / "films" / names[0], tmp_path / "films" / name)
    rows = [f"{name} {number % 2}\n" for number, name in enumerate(names)]
    (tmp_path / "train.txt").write_text("".join(rows[:-2]))
    (tmp_path / "val.txt").write_text("".join(rows[-2:]))
    tried = random.Random(0).sample(range(len(names)), SAMPLES)
    large = next(name for number, name in enumerate(names) if number not in tried)
    free = shutil.disk_usage(tmp_path).free
    size = round(1.05 * free)
    with serving(tmp_path / "films", {f"/{large}": size}) as address:
        done = expander("data", "prepare", "--train-ann", "train.txt", "--val-ann", "val.txt", "--data-root",
                        address, "--out", "out", "--short-side", "16", "--workers", "1")  # fmt: skip
    assert f"and {size / 1e9:.2f} GB for copies of originals, " in done.stdout
    assert done.returncode == 6, done.stderr
    assert "more are needed, and" in done.stderr.splitlines()[-1]
    made = re.search(r"are left: about (\d+\.\d+) GB", done.stdout)
    assert made is not None
    assert 1.1 * float(made[1]) < free / 1e9
