"""The run folder: what is appended is read back, damage is told, one process at a time."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from expander.errors import DataError, EnvironmentFault
from expander.runs.events import SCHEMA, Event, RunFinished, TrialFailed
from expander.runs.journal import Run, write_atomic
from expander.runs.trials import TrialFailure

EVENTS: list[Event] = [
    TrialFailed(1, TrialFailure("s01-depth-seed000-00000000", "the loss is nan")),
    TrialFailed(1, TrialFailure("s01-width-seed000-00000000", 'said "no"\nand died: \u00fc')),
    RunFinished(1, "failed", "every trial failed"),
]

HOLD = """
import sys
from pathlib import Path
from expander.runs.journal import Run
with Run(Path(sys.argv[1])).locked():
    print("held", flush=True)
    sys.stdin.readline()
print("released", flush=True)
"""

FULL = """
import resource, signal, sys
from pathlib import Path
from expander.errors import EnvironmentFault
from expander.runs.events import RunFinished
from expander.runs.journal import Run, write_atomic
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    exec(sys.argv[2], {"path": Path(sys.argv[1]), **globals()})
except EnvironmentFault as error:
    print(error)
"""


def new_run(tmp_path: Path, events: list[Event] = EVENTS) -> Run:
    run = Run(tmp_path / "run")
    run.create()
    for event in events:
        run.append(event)
    return run


def holder(folder: Path) -> subprocess.Popen[str]:
    """A process that holds the lock of a folder until its input ends; returned once it holds it."""
    command = [sys.executable, "-c", HOLD, str(folder)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def on_a_full_disk(code: str, path: Path) -> str:
    """What a process prints that may write no file beyond 1,000 bytes."""
    command = [sys.executable, "-c", FULL, str(path), code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_events_are_read_back_in_order(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    assert run.events() == EVENTS
    assert Run(run.folder).events() == EVENTS


def test_an_event_is_one_line_of_json_with_schema_and_time(tmp_path: Path) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    run = new_run(tmp_path)
    lines = run.journal.read_text().splitlines()
    assert len(lines) == len(EVENTS)
    for line, (event, time) in zip(lines, run.times(), strict=True):
        data = json.loads(line)
        assert data["schema"] == SCHEMA
        assert data["event"] == event.event
        assert datetime.fromisoformat(data["time"]) == time
        assert before <= time <= datetime.now(UTC)


def test_a_folder_is_a_run_once_its_journal_has_begun(tmp_path: Path) -> None:
    run = Run(tmp_path / "run")
    assert not run.exists()
    run.create()
    assert not run.exists()
    run.append(EVENTS[0])
    assert run.exists()


def test_creating_a_run_twice_keeps_its_journal(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    run.create()
    assert run.events() == EVENTS


def test_a_missing_journal_is_a_data_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"journal\.jsonl: cannot be read: No such file"):
        Run(tmp_path).events()


def test_a_torn_last_line_is_left_out_wherever_it_was_torn(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    whole = run.journal.read_bytes()
    last = whole[:-1].rfind(b"\n") + 1
    for length in range(last, len(whole)):
        run.journal.write_bytes(whole[:length])
        assert run.events() == EVENTS[:-1]


def test_a_torn_last_line_is_cut_with_a_warning_before_the_next_append(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = new_run(tmp_path)
    with run.journal.open("ab") as file:
        file.write(b'{"schema": 1, "time')
    with caplog.at_level(logging.WARNING):
        run.cut_torn_line()
    assert [record.getMessage() for record in caplog.records] == [
        f"{run.journal}: cut an unfinished last line of 19 bytes"
    ]
    run.append(EVENTS[0])
    assert run.events() == [*EVENTS, EVENTS[0]]


def test_a_sound_journal_is_not_cut(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run = new_run(tmp_path)
    before = run.journal.read_bytes()
    run.cut_torn_line()
    assert run.journal.read_bytes() == before
    assert caplog.records == []


@pytest.mark.parametrize(
    "bad",
    [
        b"not json",
        b"",
        b"[1, 2]",
        b"null",
        b'{"schema": 1}',
        b'{"schema": 1, "time": "2026-01-01T00:00:00+00:00"}',
        b'{"schema": 1, "time": "yesterday", "event": "run_finished"}',
        b'{"schema": "one", "time": "2026-01-01T00:00:00+00:00", "event": "run_finished"}',
        b'{"schema": 1, "time": "2026-01-01T00:00:00+00:00", "event": "run_paused", "step": 1}',
        b'{"schema": 1, "time": "2026-01-01T00:00:00+00:00", "event": "run_finished", "step": "x"}',
        b"\xff\xfe\x00",
        b"\x00\x00\x00\x00",
    ],
)
def test_a_bad_line_in_the_middle_is_an_error_that_names_its_number(tmp_path: Path, bad: bytes) -> None:
    run = new_run(tmp_path)
    lines = run.journal.read_bytes().split(b"\n")
    lines[1] = bad
    run.journal.write_bytes(b"\n".join(lines))
    with pytest.raises(DataError, match=r"journal\.jsonl:2: not an event"):
        run.events()


def test_a_finished_bad_line_at_the_end_is_an_error_too(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with run.journal.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(DataError, match=r"journal\.jsonl:4: not an event"):
        run.events()


def test_a_newer_schema_is_refused_with_the_remedy(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    text = run.journal.read_text().replace(f'"schema": {SCHEMA}', f'"schema": {SCHEMA + 1}')
    run.journal.write_text(text)
    newer = rf"journal\.jsonl:1: written by a newer expander \(schema {SCHEMA + 1}\); update it"
    with pytest.raises(DataError, match=newer):
        run.events()


def test_a_journal_that_is_a_link_is_not_written_through(tmp_path: Path) -> None:
    run = Run(tmp_path)
    (tmp_path / "elsewhere").write_text("kept")
    run.journal.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EnvironmentFault, match=r"journal\.jsonl: cannot be written: Too many levels of sym"):
        run.append(EVENTS[0])
    assert (tmp_path / "elsewhere").read_text() == "kept"


def test_an_append_that_did_not_fit_leaves_a_journal_that_can_go_on(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    code = 'Run(path).append(RunFinished(2, "limit", "x" * 2000))'
    assert "journal.jsonl: cannot be written: File too large" in on_a_full_disk(code, run.folder)
    assert run.events() == EVENTS
    run.cut_torn_line()
    run.append(EVENTS[0])
    assert run.events() == [*EVENTS, EVENTS[0]]


def test_a_run_folder_that_cannot_be_made_is_an_environment_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(EnvironmentFault, match="file/run: cannot be made: Not a directory"):
        Run(tmp_path / "file" / "run").create()


def test_a_second_process_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with holder(run.folder) as first:
        with pytest.raises(EnvironmentFault, match=f"run: in use by process {first.pid};"), run.locked():
            pass
        out, _ = first.communicate("\n")
    assert out == "released\n"
    assert first.returncode == 0
    with run.locked():
        pass


def test_a_refused_process_does_not_disturb_the_holder(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with holder(run.folder) as first:
        for _ in range(2):
            with pytest.raises(EnvironmentFault, match=f"process {first.pid};"), run.locked():
                pass
        first.communicate("\n")


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with holder(run.folder) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    assert (run.folder / "lock").read_text() == f"{first.pid}\n"
    with run.locked():
        assert (run.folder / "lock").read_text() == f"{os.getpid()}\n"


def test_the_lock_is_released_after_an_error(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with pytest.raises(RuntimeError), run.locked():
        raise RuntimeError
    with run.locked():
        pass


def test_reading_needs_no_lock(tmp_path: Path) -> None:
    run = new_run(tmp_path)
    with run.locked():
        assert Run(run.folder).events() == EVENTS


def test_a_lock_in_a_missing_folder_is_an_environment_fault(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="lock: cannot be opened: No such file"), \
            Run(tmp_path / "absent").locked():  # fmt: skip
        pass


def test_write_atomic_writes_the_content_and_makes_the_folders(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "spec.yaml"
    for content in (b"one", b"", b"three\x00"):
        write_atomic(path, content)
        assert path.read_bytes() == content
    assert os.listdir(path.parent) == ["spec.yaml"]


def test_write_atomic_below_a_file_is_an_environment_fault(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(EnvironmentFault, match=r"spec\.yaml: cannot be written: (Not a dir|File ex)"):
        write_atomic(tmp_path / "file" / "spec.yaml", b"x")
    assert (tmp_path / "file").read_text() == "kept"


def test_write_atomic_over_a_folder_leaves_no_partial_file(tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").mkdir()
    with pytest.raises(EnvironmentFault, match=r"spec\.yaml: cannot be written: Is a directory"):
        write_atomic(tmp_path / "spec.yaml", b"x")
    assert os.listdir(tmp_path) == ["spec.yaml"]


def test_write_atomic_on_a_full_disk_keeps_the_old_file_and_no_other(tmp_path: Path) -> None:
    path = tmp_path / "weights"
    write_atomic(path, b"old")
    printed = on_a_full_disk('write_atomic(path, b"x" * 5000)', path)
    assert printed == f"{path}: cannot be written: File too large\n"
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["weights"]


def test_a_written_file_is_readable_by_others(tmp_path: Path) -> None:
    """As a file that `open` makes: what the umask leaves."""
    write_atomic(tmp_path / "spec.yaml", b"x")
    (tmp_path / "plain").write_bytes(b"x")
    assert (tmp_path / "spec.yaml").stat().st_mode == (tmp_path / "plain").stat().st_mode
