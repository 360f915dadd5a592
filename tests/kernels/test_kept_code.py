"""Kernels on disk that are empty, cut, foreign or do not fit: compiled anew with one warning, never fatal."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from absent import NO_NUMBA

pytest.importorskip("numba", reason=NO_NUMBA)
from expander.kernels import compilation

KERNEL = """
import logging
import resource
import signal
import sys
from expander.kernels.compilation import compiled

def twice(x):
    return 2.0 * x

def thrice(x):
    return 3.0 * x

if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    if len(sys.argv) > 1:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
    first, second = compiled(twice), compiled(thrice)
    print(first(21.0), second(14.0), sum(first.stats.cache_hits.values()))
"""


def call(folder: Path, *arguments: str) -> tuple[str, list[str]]:
    """What a process prints that calls two kernels, the last number how many it found; its warnings."""
    (folder / "kernel.py").write_text(KERNEL)
    os.utime(folder / "kernel.py", (0, 0))
    done = subprocess.run(
        [sys.executable, "kernel.py", *arguments], cwd=folder, capture_output=True, text=True, check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(folder / "cache")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text", "flipped"])
def test_a_damaged_file_is_told_once_and_made_again(tmp_path: Path, kind: str, damage: str) -> None:
    assert call(tmp_path) == ("42.0 42.0 0\n", [])
    assert call(tmp_path) == ("42.0 42.0 1\n", [])
    files = list((tmp_path / "cache").rglob(f"*.{kind}"))
    assert len(files) == 2
    for file in files:
        content = file.read_bytes()
        flipped = content[:100] + bytes([content[100] ^ 4]) + content[101:]
        damaged = {"empty": b"", "cut": content[:-20], "text": b"no code\n", "flipped": flipped}
        file.write_bytes(damaged[damage])
    printed, warnings = call(tmp_path)
    assert printed == "42.0 42.0 0\n"
    assert len(warnings) == 1
    assert "cannot be used or written" in warnings[0]
    assert call(tmp_path) == ("42.0 42.0 1\n", [])


@pytest.mark.parametrize("room", ["0", "200"])
def test_on_a_full_disk_kernels_work_and_are_not_kept(tmp_path: Path, room: str) -> None:
    printed, warnings = call(tmp_path, room)
    assert printed == "42.0 42.0 0\n"
    assert len(warnings) == 1
    assert list(tmp_path.rglob("*.nbc")) == []
    assert call(tmp_path)[0] == "42.0 42.0 0\n"


def test_a_folder_for_all_users_must_be_ours_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    monkeypatch.setattr(compilation.tempfile, "tempdir", str(tmp_path))
    folder = compilation.cache_folder()
    assert folder is not None
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)
    assert compilation.cache_folder() is None
    folder.rmdir()
    folder.symlink_to(tmp_path)
    assert compilation.cache_folder() is None
