"""Commands on a run that is damaged, hostile or somebody else's: one line, the exit code, nothing lost.

`--flips 2000` tries each command with so many changed bits of its journal; without it with 4.
"""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import ASSETS, Run
from runs_of_others import planning
from searches import EXACT, problem, search
from test_cli import refused

from expander.runs import journal

REFERENCE = ASSETS / "run-v2"
COMMANDS: dict[str, list[str]] = {
    "status": ["status", "r"],
    "report": ["report", "r"],
    "table": ["report", "r", "--format", "json", "--table", "trials"],
    "html": ["report", "r", "--format", "html", "--out", "page.html"],
    "resume": ["search", "--run", "r", "--resume"],
    "contract": ["contract", "r", "--target-gflops", "0.0003"],
}


def snapshot(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, but for the lock."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != "lock")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def finished(tmp_path: Path) -> journal.Run:
    """A finished run `r`, sealed."""
    run = journal.Run(tmp_path / "runs" / "r")
    run.create()
    for event in search(problem(target=3, selection=replace(EXACT, resamples=100))):
        run.append(event)
    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_flipped_bit_is_told_by_every_command(
    expander: Run, finished: journal.Run, command: str, request: pytest.FixtureRequest
) -> None:
    content = finished.journal.read_bytes()
    flips = request.config.getoption("--flips") or 4
    for bit in random.Random(command).sample(range(8 * len(content)), flips):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        finished.journal.write_bytes(changed)
        before = snapshot(finished.folder)
        refused(expander(*COMMANDS[command]), 3, "runs/r/journal.jsonl:")
        assert snapshot(finished.folder) == before
    finished.journal.write_bytes(content)
    done = expander(*COMMANDS[command])
    assert done.returncode == 0, done.stderr


def test_a_journal_without_checksums_is_told_as_such(expander: Run, tmp_path: Path) -> None:
    shutil.copytree(REFERENCE, tmp_path / "runs" / "r")
    said = "journal: of an earlier version, without checksums"
    for command in (["status", "r"], ["report", "r"]):
        assert said in expander(*command).stdout
    assert json.loads(expander("status", "r", "--json").stdout)["protected"] is False
    assert said in expander("search", "--run", "r", "--resume").stderr


def test_an_axis_that_leads_out_of_the_run_folder_is_refused(expander: Run, tmp_path: Path) -> None:
    lines = (ASSETS / "journal-v2.jsonl").read_text().splitlines(keepends=True)
    folder = tmp_path / "runs" / "r"
    folder.mkdir(parents=True)
    changed = [line.replace('"axis":"depth"', '"axis":"x/../../evil"') for line in lines]
    first = next(n for n, line in enumerate(changed, 1) if "evil" in line)
    (folder / "journal.jsonl").write_text("".join(changed[:first]))
    refused(expander("search", "--run", "r", "--resume"), 3, f"runs/r/journal.jsonl:{first}: ", "is no axis")
    assert sorted(os.listdir(tmp_path)) == ["runs"]
    assert os.listdir(tmp_path / "runs") == ["r"]


def test_trials_that_a_link_takes_elsewhere_are_not_trained(
    expander: Run, finished: journal.Run, tmp_path: Path
) -> None:
    (finished.folder / "trials").rmdir()
    (finished.folder / "trials").symlink_to(tmp_path)
    refused(expander("search", "--run", "r", "--resume"), 6, "runs/r/trials", "leaves the run folder")


def test_a_step_that_leads_elsewhere_and_a_spec_that_was_changed_are_refused(
    expander: Run, tmp_path: Path
) -> None:
    shutil.copytree(REFERENCE, tmp_path / "runs" / "r")
    (tmp_path / "runs" / "evil.yaml").write_text("depth: 2.0\n")
    refused(expander("cost", "r:../../evil"), 3, "is no name of a file")
    spec = tmp_path / "runs" / "r" / "specs" / "step2.yaml"
    spec.write_text(spec.read_text().replace("depth: 1.0", "depth: 2.0"))
    refused(expander("cost", "r:step2"), 3, "step2.yaml", "is not the spec")
    assert expander("cost", "r:step1").returncode == 0


def test_a_search_and_a_training_under_a_name_that_another_plans_with_are_refused(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    with planning(tmp_path / "runs" / "r") as owner:
        before = snapshot(tmp_path / "runs")
        refused(expander(*micro, "--run", "r"), 6, f"runs/r: in use by process {owner.pid}")
        refused(expander("train", "x2d", "--run", "r"), 6, f"runs/r: in use by process {owner.pid}")
        assert snapshot(tmp_path / "runs") == before
        owner.communicate("")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_is_at_work_is_not_resumed_contracted_or_compared(
    expander: Run, finished: journal.Run
) -> None:
    before = snapshot(finished.folder)
    with finished.locked():
        for command in (["search", "--run", "r", "--resume"], ["contract", "r", "--target-gflops", "0.0003"],
                        ["baseline", "r", "--kind", "compound"]):  # fmt: skip
            refused(expander(*command), 6, f"runs/r: in use by process {os.getpid()}")
        assert expander("status", "r").returncode == 0
    assert snapshot(finished.folder) == before


def test_a_search_that_cannot_be_planned_leaves_no_folder(expander: Run, tmp_path: Path) -> None:
    space = ["--space", str(ASSETS / "micro.yaml"), "--target-gflops", "0.0004"]
    refused(expander("search", *space, "--data", "missing", "--run", "r"), 3, "missing")
    assert not (tmp_path / "runs" / "r").exists()


@pytest.mark.parametrize("command", [["report", "r", "--format", "csv"], ["report", "r", "--format", "html"]])
def test_out_is_written_to_what_is_no_file(
    expander: Run, finished: journal.Run, tmp_path: Path, command: list[str]
) -> None:
    assert finished.exists()
    (tmp_path / "out").symlink_to("/dev/null")
    assert expander(*command, "--out", "out").returncode == 0
    assert (tmp_path / "out").is_symlink()
    os.mkfifo(tmp_path / "pipe")
    refused(expander(*command, "--out", "pipe"), 6, "pipe: cannot be written: nobody reads this pipe")
    assert (tmp_path / "pipe").is_fifo()
