"""Preparing a data set killed at random moments and on a cluster, and a manifest of a million rows. Slow."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Run
from films import film
from forking import Command
from test_prepared import OPTIONS, contents, films

from expander.backends.processes import descendants
from expander.data.prepared import manifest
from expander.runs.machine import Process

pytestmark = pytest.mark.slow
KILLS = 10
HERE = Path(__file__).parent.parent
ARGUMENTS = ["data", "prepare", "films", *OPTIONS]


def ended(processes: tuple[Process, ...], seconds: float = 20) -> bool:
    """Whether all of them end soon."""
    deadline = time.monotonic() + seconds
    while any(process.alive for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_killed_at_random_moments_and_resumed_it_gives_the_same_bytes(expander: Run, tmp_path: Path) -> None:
    films(tmp_path / "films", each=5)
    for number in range(4):
        film(tmp_path / "films" / "train" / "wave" / f"long{number}.mp4", 400, size=(96, 128))
    begun = time.monotonic()
    assert expander(*ARGUMENTS, "--out", "whole").returncode == 0
    length, rng = time.monotonic() - begun, random.Random(0)
    kept, folder = list[tuple[int, int]](), 0
    while len(kept) < KILLS:
        with Command([*ARGUMENTS, "--out", f"cut{folder}"], tmp_path) as process:
            try:
                process.wait(rng.uniform(0.05, 0.6) * length)
                folder += 1  # this one was ready before
                continue
            except subprocess.TimeoutExpired:
                below = descendants(process.pid)
                process.kill()
                assert process.wait(60) == -signal.SIGKILL
                assert ended(below)
        kept.append((folder, len(list(tmp_path.glob(f"cut{folder}/videos/*/*.mp4")))))
    for number in range(folder + 1):
        assert expander(*ARGUMENTS, "--out", f"cut{number}").returncode == 0
        assert contents(tmp_path / f"cut{number}") == contents(tmp_path / "whole")
    assert kept == sorted(kept)  # no kill costs a video that was finished
    assert any(count for _, count in kept)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_whole_videos_and_no_process(
    expander: Run, tmp_path: Path, number: int, code: int
) -> None:
    films(tmp_path / "films", each=8)
    for last in range(4):  # which are still to come when the signal does, however quick the machine is
        film(tmp_path / "films" / "train" / "wave" / f"long{last}.mp4", 1000, size=(96, 128))
    with Command([*ARGUMENTS, "--out", "out"], tmp_path) as process:
        for line in process.stderr:
            if "preparing the videos: 2" in line:
                break
        below = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(60) == code
        assert ended(below)
    assert not list((tmp_path / "out").rglob(".*draft"))
    assert expander(*ARGUMENTS, "--out", "out").returncode == 0
    assert expander(*ARGUMENTS, "--out", "whole").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_search_train_and_test_take_the_prepared_videos(
    expander: Run, videos: Path, micro: list[str]
) -> None:
    done = expander("data", "prepare", videos, "--out", "out", "--short-side", "64")
    assert done.returncode == 0, done.stderr
    place = micro.index("--train-ann")
    search = [*micro[:place], "--data", "out", "--max-steps", "1", "--set", "axes.width.limit=1"]
    small = ["--set", "train.epochs=1", "--set", "train.batch=8", "--set", "train.precise_bn=0"]
    for words in ([*search, "--backend", "inline", "--run", "r"],
                  ["train", "r:final", "--data", "out", "--run", "full", *small],
                  ["test", "full", "--data", "out", "--views", "2x1"],
                  ["data", "check", "out"]):  # fmt: skip
        done = expander(*words)
        assert done.returncode == 0, done.stderr


MILLION = """
import json, re, sys, time
from pathlib import Path
from expander.data.prepared import manifest
seconds = []
for _ in range(3):  # the machine may do other things
    begun = time.monotonic()
    table = manifest.read(Path(sys.argv[1]))
    seconds.append(time.monotonic() - begun)
    rows, frames = len(table), int(table["frames"].sum())
    del table
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
print(json.dumps([rows, frames, min(seconds), peak]))
"""


def test_a_manifest_of_a_million_rows_opens_in_three_seconds_and_a_gigabyte(tmp_path: Path) -> None:
    count = 1_000_000
    rng = random.Random(0)
    columns: dict[str, list[object]] = {
        "path": [f"videos/3f/some_class_{number:07}-0123456789abcdef.mp4" for number in range(count)],
        "source": [f"train/some class/{number:07}.mp4" for number in range(count)],
        "sha256": [f"{rng.getrandbits(256):064x}" for _ in range(count)],
        "source_sha256": [f"{rng.getrandbits(256):064x}" for _ in range(count)],
    }
    numbers = ("label", "source_bytes", "source_time", "bytes", "frames", "height", "width", "source_frames",
               "source_height", "source_width")  # fmt: skip
    columns |= {name: [*range(count)] for name in numbers}
    columns |= {"split": ["train"] * count, "reason": [""] * count, "fps": ["30000/1001"] * count}
    columns["mapping"] = [[1, 2, 3] if number % 100 == 0 else None for number in range(count)]
    (tmp_path / manifest.NAME).write_bytes(manifest.table_bytes(columns, {}))
    (tmp_path / "read.py").write_text(MILLION)
    words = [sys.executable, str(tmp_path / "read.py"), str(tmp_path)]
    rows, frames, seconds, kilobytes = json.loads(subprocess.check_output(words))
    print(f"{seconds:.2f} s, {kilobytes / 1e6:.2f} GB")
    assert (rows, frames) == (count, count * (count - 1) // 2)
    assert seconds < 3
    assert kilobytes < 1_000_000


def test_a_cluster_gives_the_same_bytes(
    expander: Run, tmp_path: Path, environment: dict[str, str]
) -> None:
    films(tmp_path / "films", each=6)
    assert expander(*ARGUMENTS, "--out", "here").returncode == 0
    cluster = subprocess.Popen([sys.executable, str(HERE / "cluster.py")], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True, env=environment, cwd=tmp_path)  # fmt: skip
    try:
        assert cluster.stdout is not None
        address = cluster.stdout.readline().strip()
        done = expander(*ARGUMENTS, "--out", "there", "--ray-address", address)
        assert done.returncode == 0, done.stderr
    finally:
        cluster.communicate("\n", timeout=120)
    assert contents(tmp_path / "there") == contents(tmp_path / "here")
    assert not (tmp_path / "there" / "ray").exists()
