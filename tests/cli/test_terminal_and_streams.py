"""Standard streams that are full, closed or unread; names that would steer a terminal; the last barrier."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import ASSETS
from terminal import Terminal

from expander.video.filenames import one_line, printable

FULL = Path("/dev/full")
needs_full = pytest.mark.skipif(not FULL.exists(), reason="/dev/full is Linux's")
EVIL = "\x1b]0;owned\x07\x1b[2J\x9b31m\u202egnp"
ROOT = Path(__file__).parents[2]


Shell = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def shell(tmp_path: Path, environment: dict[str, str]) -> Shell:
    """Runs a line in which `expander` is the command; the exit code is its own, not that of its reader."""
    command = f'expander() {{ {shlex.quote(sys.executable)} -m expander.cli "$@"; }}; set -o pipefail; '

    def run(line: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-c", command + line], cwd=tmp_path, env={**environment, **more}, capture_output=True,
            text=True, stdin=subprocess.DEVNULL, check=False, timeout=300,
        )  # fmt: skip

    return run


@needs_full
@pytest.mark.parametrize("line", ["cost x3d_s", "--help", "--version", "train --help", "trace --axes width"])
def test_a_full_disk_under_standard_output_is_exit_6(line: str, shell: Shell) -> None:
    done = shell(f"expander {line} > /dev/full")
    assert done.returncode == 6, done.stderr
    assert done.stderr == "error: standard output: cannot be written: No space left on device\n"


@needs_full
def test_a_full_disk_under_both_streams_still_has_its_exit_code(shell: Shell) -> None:
    assert shell("expander cost x3d_s > /dev/full 2> /dev/full").returncode == 6
    assert shell("expander cost none 2> /dev/full").returncode == 2


@pytest.mark.parametrize("line", ["cost x3d_xl --json", "--help", "cost --help"])
def test_a_reader_that_goes_away_is_no_bug(line: str, shell: Shell) -> None:
    done = shell(f"expander {line} | true")
    assert done.returncode in (0, 141)
    assert done.stderr == ""


def test_a_watch_ends_with_its_reader(tmp_path: Path, environment: dict[str, str]) -> None:
    *begun, last = (ASSETS / "run-v2" / "journal.jsonl").read_text().splitlines(keepends=True)
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.write_text("".join(begun))
    command = [sys.executable, "-m", "expander.cli", "status", "r", "--watch", "--every", "0.2"]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as watch:  # fmt: skip
        assert watch.stdout is not None
        assert watch.stderr is not None
        watch.stdout.readline()
        watch.stdout.close()
        with journal.open("a") as file:
            file.write(last)
        assert watch.wait(300) == 141
        assert watch.stderr.read() == b""


@pytest.mark.parametrize("closed", [">&-", "<&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_lead_nowhere(closed: str, tmp_path: Path, shell: Shell) -> None:
    done = shell(f"expander cost x3d_s {closed}")
    assert (done.returncode, done.stderr) == (0, "")
    assert ("multiply-adds" in done.stdout) == (">&-" not in closed.split())
    done = shell(f"expander trace --axes width --json --contract nan {closed}")
    assert done.returncode == 2
    # A file that is opened does not take the place of a closed stream: nothing is written into it.
    spec = tmp_path / "spec.yaml"
    spec.write_text("width: 2\n")
    assert shell(f"expander cost spec.yaml {closed}").returncode == 0
    assert spec.read_text() == "width: 2\n"


@pytest.mark.parametrize("command", [
    ["cost", EVIL], ["report", EVIL], ["predict", "x.mp4", "--weights", EVIL], ["data", "check", EVIL],
    ["cost", "--" + EVIL], [EVIL], ["train", "x3d_s", "--set", EVIL],
    ["search", "--space", EVIL, "--target-gflops", "1"],
    ["cost", f"{EVIL}.yaml"],
])  # fmt: skip
def test_escape_sequences_of_arguments_reach_no_terminal(
    command: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    terminal = Terminal(command, tmp_path, environment)
    assert terminal.end() in (2, 3)
    assert_harmless(terminal.drawn)


def assert_harmless(drawn: bytes) -> None:
    """Nothing of EVIL but written out."""
    text = drawn.decode()
    assert "\\x1b]0;owned\\x07" in text
    assert not {"\x1b", "\x07", "\x9b", "\u202e"} & set(text)


def test_escape_sequences_in_names_of_files_and_classes_reach_no_terminal(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    for name in (f"{EVIL}/1.mp4", f"{EVIL}/2.mp4", "b/1.mp4", "b/2.mp4", f"{EVIL}.mp4"):
        file = tmp_path / "d" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no video")
    for command in (["check", "d"], ["index", "d", "--out", "o.csv"]):
        terminal = Terminal(["data", *command], tmp_path, environment)
        assert terminal.end() == (3 if command[0] == "check" else 0)
        assert_harmless(terminal.drawn)
    assert EVIL in (tmp_path / "o.csv").read_text()  # a file has the name itself


def test_the_commands_print_in_one_place_only() -> None:
    own = re.compile(r"\bclick\.echo\(|\bprint\(|sys\.std(out|err)\.write")
    files = {path.name for path in (ROOT / "expander" / "cli").rglob("*.py") if own.search(path.read_text())}
    assert files == {"terminal.py"}


def test_what_steers_is_written_out_and_letters_stay() -> None:
    assert printable("\x1b[31mred\x7f\x85") == "\\x1b[31mred\\x7f\\x85"
    assert printable("a\tb\nc") == "a\tb\nc"
    assert printable("日本 café 👩‍🔬") == "日本 café 👩‍🔬"
    assert printable("caf\udce9 \ud800") == "caf\\xe9 \\ud800"
    assert one_line("a\n  b\rc\r\nd ") == "a b c d"
    assert len(one_line("9" * 5000)) < 1500
    assert one_line("no ftp://user:p@ss@host/a@b") == "no ftp://…@host/a@b"
    signed = "GET 'https://host/a?b=1&X-Amz-Signature=5f' failed, is a?b.mp4 there?"
    assert one_line(signed) == "GET 'https://host/a?…' failed, is a?b.mp4 there?"


BUG = """
import sys
from expander.cli import main
def fails(*_, **__):
    raise KeyError("odd\\x1b[2J")
main.cli.main = fails
sys.argv = ["expander", "cost", "x3d_s"]
main.main()
"""


def broken(folder: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """What a bug in a command comes to."""
    return subprocess.run([sys.executable, "-c", BUG], cwd=folder, env=environment, capture_output=True,
                          text=True, check=False, timeout=300)  # fmt: skip


def test_an_error_that_nobody_expected_is_a_line_and_a_report(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    done = broken(tmp_path, {**environment, "MY_SECRET": "hunter2"})
    assert (done.returncode, done.stdout) == (1, "")
    (report,) = tmp_path.glob("expander-crash-*.txt")
    assert done.stderr.startswith("error: a bug in expander: KeyError: 'odd\\x1b[2J'; a report")
    assert done.stderr.endswith(f"{report}\n")
    assert len(done.stderr.splitlines()) == 1
    text = report.read_text()
    assert "Traceback (most recent call last)" in text
    assert "expander 'cost' 'x3d_s'" in text
    assert "hunter2" not in text
    assert not report.stat().st_mode & 0o077


def test_the_traceback_is_shown_where_it_is_asked_for(
    tmp_path: Path, environment: dict[str, str], shell: Shell
) -> None:
    done = broken(tmp_path, {**environment, "EXPANDER_DEBUG": "1"})
    assert done.returncode == 1
    assert "Traceback (most recent call last)" in done.stderr
    told = shell("expander cost none", EXPANDER_DEBUG="1")
    assert told.returncode == 2
    assert "UsageError" in told.stderr


def test_a_report_that_cannot_be_written_here_is_written_elsewhere(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    gone, elsewhere = tmp_path / "gone", tmp_path / "elsewhere"
    gone.mkdir()
    elsewhere.mkdir()
    program = f"import os; os.rmdir({os.fspath(gone)!r})\n{BUG}"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=gone, env={**environment, "TMPDIR": str(elsewhere)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 1
    assert len(list(elsewhere.glob("expander-crash-*.txt"))) == 1
