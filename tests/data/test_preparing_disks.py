"""Preparing onto real disks that are full or read-only, and from a source that changes meanwhile. Slow."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import Run
from films import film
from forking import Command
from test_prepared import contents, films

from expander.video.writing.encoder import CHANGED

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parent.parent / "small_disk.py"
PREPARE = ["data", "prepare", "films", "--short-side", "48", "--workers", "1", "--out"]
SHARDS = ["--shards", "1MB"]
LARGE = 20_000
"""Bytes that the draft of the long film alone has."""
OWN = ("unshare", "-rm")


@pytest.fixture
def own() -> tuple[str, ...]:
    """Before a command: a namespace of its own in which it may mount."""
    command = [*OWN, "mount", "-t", "tmpfs", "none", "/mnt"]
    if shutil.which(OWN[0]) is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("needs namespaces in which a user may mount")
    return OWN


def test_a_small_and_a_read_only_disk_lose_nothing(
    expander: Run, own: tuple[str, ...], tmp_path: Path, environment: dict[str, str]
) -> None:
    """From too small for the first video up, through every file that is written, to large enough."""
    films(tmp_path / "films", each=5)
    for number in (7, 8, 9):  # larger than what its samples let it expect
        film(tmp_path / "films" / "train" / "wave" / f"{number}.mp4", 90, size=(96, 128))
    assert expander(*PREPARE, "whole", *SHARDS).returncode == 0
    for name in ("disk", "copy"):
        (tmp_path / name).mkdir()
    done = subprocess.run(
        [*own, sys.executable, str(SCRIPT), *PREPARE, "disk/set", *SHARDS], cwd=tmp_path, env=environment,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert all("disk/set" in line and "No space left on device" in line for line in told["small"])
    for kind in (".mp4: cannot be written", ".tar: cannot be written"):
        assert any(kind in line for line in told["small"])
    assert "Read-only file system" in told["fixed"][0]
    assert contents(tmp_path / "copy" / "set") == contents(tmp_path / "whole")


def drafted(out: Path) -> bool:
    """Whether the long film is being written."""
    try:
        return any(file.stat().st_size > LARGE for file in out.glob("**/.*.draft"))
    except FileNotFoundError:  # it had its name, or was deleted
        return False


def test_a_source_that_changes_while_it_is_prepared_is_listed_and_the_next_call_has_it(
    expander: Run, tmp_path: Path
) -> None:
    films(tmp_path / "films", each=3)
    source = film(tmp_path / "films" / "train" / "wave" / "long.mp4", 9000, size=(96, 128))
    other = film(tmp_path / "other.mp4", 40, size=(96, 128))
    with Command([*PREPARE, "out"], tmp_path) as process:
        while not drafted(tmp_path / "out"):
            assert process.poll() is None
            time.sleep(0.005)
        other.replace(source)
        assert process.wait(120) == 4
    with (tmp_path / "out" / "damaged.csv").open() as file:
        ((name, reason),) = [(row["source"], row["reason"]) for row in csv.DictReader(file)]
    assert name == "train/wave/long.mp4"
    assert reason == CHANGED
    assert expander(*PREPARE, "out").returncode == 0
    assert expander(*PREPARE, "whole").returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
