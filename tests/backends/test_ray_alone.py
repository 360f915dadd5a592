"""Ray on one machine: nothing of it can be reached from another, and nothing of a killed one is left."""

from __future__ import annotations

import ipaddress
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from expander.backends.processes import descendants
from expander.backends.ray_scratch import PLACE, PREFIX, Scratch, sweep, users

needs_proc = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads /proc")
LISTENING = "0A"
OWNER = """
import sys
from pathlib import Path
from expander.backends.ray_tune import RayBackend
from expander.config.settings import BackendConfig
with RayBackend(BackendConfig()) as backend:
    print(backend.start(Path(sys.argv[1])), flush=True)
    sys.stdin.readline()
"""
IDLE = """
import sys
from expander.backends.ray_scratch import Scratch
scratch = Scratch()
print(scratch.folder, flush=True)
sys.stdin.readline()
"""


@contextmanager
def begun(program: str, *arguments: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """A process that owns a folder of Ray, and waits; and the folder."""
    command = [sys.executable, "-c", program, *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process, Path(process.stdout.readline().strip())
        process.kill()


def listening(pids: list[int]) -> set[str]:
    """The addresses at which processes can be reached."""
    sockets: dict[str, str] = {}
    for name in ("tcp", "tcp6"):
        for line in Path("/proc/net", name).read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == LISTENING:
                sockets[f"socket:[{columns[9]}]"] = columns[1].partition(":")[0]
    links = [entry for pid in pids for entry in Path(f"/proc/{pid}/fd").iterdir() if entry.is_symlink()]
    return {address(sockets[link]) for link in map(os.readlink, links) if link in sockets}


def address(text: str) -> str:
    """An address of /proc/net: words of four bytes, the last byte first."""
    raw = b"".join(bytes.fromhex(text[i : i + 8])[::-1] for i in range(0, len(text), 8))
    found = ipaddress.ip_address(raw)
    return str(getattr(found, "ipv4_mapped", None) or found)


@needs_proc
@pytest.mark.slow
def test_ray_listens_on_loopback_alone_and_a_killed_one_is_swept(tmp_path: Path) -> None:
    with begun(OWNER, str(tmp_path)) as (process, folder):
        below = descendants(process.pid)
        assert {"gcs_server", "raylet"} <= {each.name for each in below}
        assert listening([process.pid, *(each.pid for each in below)]) == {"127.0.0.1"}
        sweep()  # its owner lives: nothing happens
        assert folder.is_dir()
        assert all(each.alive for each in below)
        process.kill()
        process.wait()
        sweep()
        assert not folder.exists()
        assert not [each for each in below if each.alive]


@needs_proc
def test_a_folder_is_swept_once_its_owner_is_dead_though_nobody_has_waited_for_it() -> None:
    with begun(IDLE) as (process, folder):
        command = [sys.executable, "-c", "print(flush=True); input()", f"{folder}/x"]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as user:
            assert user.stdout is not None
            user.stdout.readline()  # its arguments are not there the moment that it is started
            sweep()
            assert folder.is_dir()
            assert {each.pid for each in users(folder)} == {user.pid, process.pid}
            process.kill()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # dead, and its number still taken
            sweep()
            assert not folder.exists()
            assert user.wait(30) == -signal.SIGKILL


def test_what_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / f"{PREFIX}999999999-a").symlink_to(target)
    (tmp_path / f"{PREFIX}x-a").mkdir()
    (tmp_path / f"{PREFIX}999999999-b").write_text("a file")
    abandoned = tmp_path / f"{PREFIX}999999999-c"
    abandoned.mkdir()
    own = Scratch(tmp_path)
    sweep(tmp_path)
    assert target.is_dir()
    assert (tmp_path / f"{PREFIX}x-a").is_dir()
    assert not abandoned.exists()
    assert own.folder.is_dir()
    own.delete()
    assert not own.folder.exists()
    assert Path("/tmp") == PLACE
