"""Whose a run folder is: claimed before anything else, by one process; links do not leave it."""

from __future__ import annotations

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from runs_of_others import planning

from expander.errors import DataError, EnvironmentFault, ExpanderError, UsageError
from expander.runs.events import RunFinished
from expander.runs.journal import Run
from expander.runs.names import below, inside, is_plain
from expander.runs.ownership import claimed, owned


def test_the_later_of_two_is_refused_while_the_first_plans_and_when_it_has_begun(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    with planning(folder) as first:
        held = f"runs/r: in use by process {first.pid};"
        with pytest.raises(EnvironmentFault, match=held), claimed(folder):
            pytest.fail("two owners")
        assert first.stdin is not None
        assert first.stdout is not None
        first.stdin.write("begin\n")
        first.stdin.flush()
        assert first.stdout.readline() == "begun\n"
        with pytest.raises(EnvironmentFault, match=held), claimed(folder):
            pytest.fail("two owners")
        first.communicate("\n")
    with pytest.raises(UsageError, match="runs/r exists; go on with --resume"), claimed(folder):
        pytest.fail("begun already")
    assert Run(folder).events() == [RunFinished(0, "limit", "first")]


@pytest.mark.parametrize("left_over", [False, True])
def test_of_many_that_come_at_once_one_gets_the_folder(tmp_path: Path, left_over: bool) -> None:
    """Two file descriptors of one process exclude each other as two processes do."""
    count, rounds = 8, 40
    together = threading.Barrier(count)

    def come(folder: Path) -> bool:
        together.wait()
        try:
            with claimed(folder):
                together.wait()  # until all others were refused
                return True
        except ExpanderError:
            together.wait()
            return False

    with ThreadPoolExecutor(count) as pool:
        for number in range(rounds):
            folder = tmp_path / f"r{number}"
            if left_over:
                folder.mkdir()
                (folder / "lock").write_text("1")
            assert sorted(pool.map(come, [folder] * count)) == [False] * (count - 1) + [True]
            assert not folder.exists()


def test_a_plan_that_comes_to_nothing_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "r"
    with planning(folder) as first:
        first.communicate("")
    assert first.returncode == 0
    assert os.listdir(tmp_path) == []
    with pytest.raises(UsageError, match="no such data"), claimed(folder):
        raise UsageError("no such data")
    assert not folder.exists()


@pytest.mark.parametrize("left", ["", "config.yaml", "journal.jsonl", "specs", ".config.yaml.x1"])
def test_the_folder_of_one_that_was_killed_while_it_planned_is_taken_over(tmp_path: Path, left: str) -> None:
    folder = tmp_path / "r"
    with planning(folder) as first:
        first.send_signal(signal.SIGKILL)
        first.wait()
    if left == "specs":
        (folder / left).mkdir()
    elif left:
        (folder / left).write_text('{"schema": 3, "ti')
    with claimed(folder):
        Run(folder).create()
        Run(folder).append(RunFinished(0, "limit", "second"))
    assert Run(folder).events() == [RunFinished(0, "limit", "second")]


@pytest.mark.parametrize("holds", ["", "notes.txt", "lock and notes.txt"])
def test_a_folder_of_something_else_is_left_as_it_is(tmp_path: Path, holds: str) -> None:
    names = [name for name in holds.split(" and ") if name]
    for name in names:
        (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match="exists and holds no run"), claimed(tmp_path):
        pytest.fail("not a folder of ours")
    assert sorted(os.listdir(tmp_path)) == names
    assert all((tmp_path / name).read_text() == "mine" for name in names if name != "lock")


def test_a_lock_that_is_a_link_or_a_pipe_is_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "lock").symlink_to("precious")
    with pytest.raises(EnvironmentFault, match=r"lock: cannot be opened: it is a link"), owned(tmp_path):
        pytest.fail("locked")
    assert (tmp_path / "precious").read_text() == "kept"
    (tmp_path / "lock").unlink()
    os.mkfifo(tmp_path / "lock")
    with pytest.raises(EnvironmentFault, match=r"lock: cannot be opened: it is no regular"), owned(tmp_path):
        pytest.fail("locked")


@pytest.mark.parametrize("place", ["trials", "specs/step1.yaml", "trials/s00-base-seed000-00000000/weights"])
def test_a_link_that_leaves_the_run_folder_is_refused(tmp_path: Path, place: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    elsewhere.mkdir()
    link = run / place
    link.parent.mkdir(parents=True)
    link.symlink_to(elsewhere)
    with pytest.raises(EnvironmentFault, match=f"{place}: is a link that leaves the run folder"), owned(run):
        pytest.fail("locked")
    assert list(elsewhere.iterdir()) == []
    link.unlink()
    (run / "kept").write_text("x")
    link.symlink_to(run / "kept")
    with owned(run):
        pass


def test_trials_may_be_where_the_settings_of_the_run_have_them_and_nowhere_else(tmp_path: Path) -> None:
    storage, run = tmp_path / "shared", Run(tmp_path / "r")
    run.create(str(storage))
    with run.locked(str(storage)):
        pass
    for other in (None, str(tmp_path), str(storage / "r")):
        with pytest.raises(EnvironmentFault, match="r/trials: is a link that leaves"), run.locked(other):
            pytest.fail("locked")


@pytest.mark.parametrize("name", ["s03-depth-seed000-1a2b3c4d", "contracted-0.0011.yaml", "_x", "a" * 200])
def test_plain_names_are_files_in_their_folder(tmp_path: Path, name: str) -> None:
    assert below(tmp_path, name) == tmp_path / name


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/etc/passwd", "-rf", ".hidden", "a\0", "a\n",
                                  "x/../../evil", "a" * 201, "ä", "a b"])  # fmt: skip
def test_names_that_could_lead_elsewhere_are_refused(tmp_path: Path, name: str) -> None:
    assert not is_plain(name)
    with pytest.raises(DataError, match="is no name of a file in it"):
        below(tmp_path, name)


def test_a_path_that_a_link_takes_out_of_its_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "report").symlink_to(tmp_path)
    with pytest.raises(DataError, match="is a link that leaves"):
        inside(tmp_path / "run", tmp_path / "run" / "report" / "page.html")
    inside(tmp_path / "run", tmp_path / "run" / "other" / "page.html")
