"""`--out`: files are replaced whole, and what is no file is written to, never replaced."""

from __future__ import annotations

import os
import select
import stat
import threading
from pathlib import Path

import pytest

from expander.errors import EnvironmentFault, UsageError
from expander.runs.targets import regular, write_out


def test_a_link_to_a_file_stays_and_the_file_gets_the_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("old")
    (tmp_path / "link").symlink_to("file")
    write_out(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"new"
    assert regular(tmp_path / "link", "--out") == tmp_path / "file"


def test_a_new_file_is_made_with_its_folders(tmp_path: Path) -> None:
    write_out(tmp_path / "a" / "b", b"new")
    assert (tmp_path / "a" / "b").read_bytes() == b"new"


def test_a_device_is_written_to_and_stays_a_device(tmp_path: Path) -> None:
    before = os.stat("/dev/null").st_rdev
    write_out(Path("/dev/null"), b"gone")
    assert os.stat("/dev/null").st_rdev == before
    with pytest.raises(EnvironmentFault, match="/dev/full: cannot be written: No space left"):
        write_out(Path("/dev/full"), b"x")
    (tmp_path / "link").symlink_to("/dev/null")
    write_out(tmp_path / "link", b"gone")
    assert (tmp_path / "link").is_symlink()


def test_a_pipe_gets_the_content_when_somebody_reads_it_and_else_is_told(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(EnvironmentFault, match="pipe: cannot be written: nobody reads this pipe"):
        write_out(pipe, b"x")
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reader, True)
    content = os.urandom(300_000)  # more than a pipe holds
    writer = threading.Thread(target=write_out, args=(pipe, content))
    writer.start()
    waiting = select.poll()
    waiting.register(reader, select.POLLIN)
    assert waiting.poll(60_000)
    with open(reader, "rb") as file:
        assert file.read() == content
    writer.join()
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_an_open_stream_is_written_to_after_what_it_holds(tmp_path: Path) -> None:
    """As /dev/stdout with `>> file`: the file is the shell's, who writes more."""
    (tmp_path / "log").write_text("before, ")
    with (tmp_path / "log").open("a") as stream:
        write_out(Path(f"/proc/self/fd/{stream.fileno()}"), b"ours, ")
        stream.write("after")
    assert (tmp_path / "log").read_text() == "before, ours, after"


@pytest.mark.parametrize("name", ["/dev/null", "pipe"])
def test_what_must_be_a_file_is_refused_where_it_is_none(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=r"--out .*: is no regular file"):
        regular(tmp_path / name, "--out")
