"""The main job as a user runs it: real MP4 files, real Ray, real processes killed."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from conftest import ASSETS, Run, Searched, decisions
from kills import kill_after

from expander.config.space import load_spec
from expander.specs.cost import cost

pytestmark = pytest.mark.slow
TARGET = 0.0004


def _events(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]


def test_a_search_ends_within_five_percent_of_its_target(searched: Searched) -> None:
    folder = searched.folder
    events = _events(folder)
    assert events[0]["event"] == "run_started"
    assert events[-1]["event"] == "run_finished"
    macs = cost(load_spec(str(folder / "specs" / "final.yaml"))).macs
    assert 0.95 * TARGET * 1e9 <= macs <= TARGET * 1e9
    for column in ("step", "axis", "cost", "ratio", "accuracy", "runner-up", "lead"):
        assert column in searched.said
    assert (folder / "report" / "trajectory.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "config.yaml").exists()
    assert json.loads((folder / "provenance.json").read_text())["versions"]["torch"]


def test_lists_relative_to_the_current_folder_reach_the_workers(
    expander: Run, videos: Path, tmp_path: Path
) -> None:
    for part in videos.iterdir():
        (tmp_path / part.name).symlink_to(part)
    lists = ["--train-ann", "train.txt", "--val-ann", "val.txt"]
    space = ["--space", str(ASSETS / "micro.yaml"), "--target-gflops", "0.0004", "--max-steps", "1"]
    done = expander("search", *space, *lists, "--run", "r", "--set", "axes.width.limit=1")
    assert done.returncode == 0, done.stderr
    assert "limit: stopped after 1 steps" in done.stdout


def test_unreadable_videos_end_a_ray_run_with_exit_3_and_their_path(
    expander: Run, micro: list[str], videos: Path, tmp_path: Path
) -> None:
    rows = (videos / "train.txt").read_text().splitlines()
    (tmp_path / "train.txt").write_text("\n".join([*rows, *(f"none/{n}.mp4 0" for n in range(9))]))
    at = micro.index("--train-ann") + 1
    done = expander(*micro[:at], tmp_path / "train.txt", *micro[at + 1 :], "--run", "r")
    assert done.returncode == 3, done.stderr
    assert "max_bad_fraction" in done.stderr
    assert "Traceback" not in done.stderr


def test_specs_that_a_kill_left_out_are_written_on_resume(
    expander: Run, searched: Searched, tmp_path: Path
) -> None:
    folder = searched.copied(tmp_path / "runs" / "r")
    lines = (folder / "journal.jsonl").read_text().splitlines(keepends=True)
    final = (folder / "specs" / "final.yaml").read_text()
    (folder / "journal.jsonl").write_text("".join(lines[:-1]))  # without run_finished
    for spec in (folder / "specs").iterdir():
        spec.unlink()
    assert expander("search", "--run", "r", "--resume").returncode == 0
    assert (folder / "specs" / "final.yaml").read_text() == final


@pytest.mark.parametrize("backend", ["inline", "ray"])
def test_a_killed_search_resumes_to_the_same_end_and_repeats_no_trial(
    expander: Run, micro: list[str], searched: Searched, tmp_path: Path, backend: str
) -> None:
    # The undisturbed one is without Ray in both cases: the backends agree in every metric and choice too.
    # Killed inside step 1 (2 of its 3 trials done), then at the end of a step, then inside another.
    kill_after([*micro, "--backend", backend, "--run", "cut"], 3, tmp_path)
    again = ["search", "--run", "cut", "--resume"]
    kill_after(again, 2, tmp_path)
    kill_after(again, 1, tmp_path)
    done = expander(*again)
    assert done.returncode == 0, done.stderr
    runs = tmp_path / "runs"
    assert decisions(runs / "cut" / "journal.jsonl") == decisions(searched.folder / "journal.jsonl")
    trained = Counter(
        json.dumps(event["result"]["trial"])  # type: ignore[index]
        for event in _events(runs / "cut")
        if event["event"] == "trial_finished"
    )
    assert max(trained.values()) == 1


def test_resuming_a_finished_run_trains_nothing_and_shows_it(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    assert expander(*micro, "--run", "r", "--backend", "inline", "--max-steps", "1").returncode == 0
    before = (tmp_path / "runs" / "r" / "journal.jsonl").read_bytes()
    again = expander("search", "--run", "r", "--resume")
    assert again.returncode == 0
    assert "limit: stopped after 1 steps" in again.stdout
    assert (tmp_path / "runs" / "r" / "journal.jsonl").read_bytes() == before


def test_a_search_whose_videos_have_changed_is_not_gone_on_with(
    expander: Run, brief: list[str], videos: Path, tmp_path: Path
) -> None:
    own = tmp_path / "val.txt"
    own.write_text((videos / "val.txt").read_text())
    options = [str(own) if word.endswith("val.txt") else word for word in brief]
    stopped = expander(*options, "--run", "r", "--backend", "inline", "--max-trials", "1")
    assert stopped.returncode == 5, stopped.stderr
    journal = tmp_path / "runs" / "r" / "journal.jsonl"
    before = journal.read_bytes()
    own.write_text("".join(reversed(own.read_text().splitlines(keepends=True))))
    again = expander("search", "--run", "r", "--resume", "--max-trials", "9")
    assert again.returncode == 3
    assert "runs/r: the data set has changed since the run began; start another run" in again.stderr
    assert journal.read_bytes() == before


def test_a_diverging_candidate_loses_and_all_diverging_ends_with_exit_5(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    done = expander(*micro, "--run", "nan", "--backend", "inline", "--set", "proxy.lr=1e30")
    assert done.returncode == 5
    assert "every candidate of step 0 failed" in done.stderr
    assert "Traceback" not in done.stderr
    assert _events(tmp_path / "runs" / "nan")[-1]["outcome"] == "failed"


def test_status_report_and_contract_read_a_run_in_another_place(
    expander: Run, searched: Searched, tmp_path: Path
) -> None:
    moved = searched.copied(tmp_path / "elsewhere")
    status = json.loads(expander("status", moved, "--json").stdout)
    assert status["outcome"] == "target"
    rows = json.loads(expander("report", moved, "--format", "json").stdout)
    assert {"step", "axis", "cost", "ratio", "accuracy"} <= set(rows[0])
    assert rows[0]["axis"] == "base"
    header = expander("report", moved, "--format", "csv").stdout.splitlines()[0]
    assert header.startswith("run,step,kind,axis")
    options = json.loads(expander("contract", moved, "--target-gflops", "0.0003", "--json").stdout)
    chosen = [option for option in options if option["chosen"]]
    assert len(chosen) == 1
    assert chosen[0]["cost"] <= 0.0003e9
    final = json.loads(expander("cost", f"{moved}:final", "--json").stdout)
    assert final["macs"] == rows[-1]["cost"]
