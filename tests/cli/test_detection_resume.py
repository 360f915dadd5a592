"""Tests that are stopped and gone on with, of detection, or begun twice, as a user has them."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
from pathlib import Path

import pytest
from conftest import Run
from films import film
from forking import Command
from kills import left_of
from people import CLASSES, made
from saved_networks import SPEC, saved

from expander import detect
from expander.config.settings import Task
from expander.errors import UsageError

WORDS = ("test", "net.yaml", "net.safetensors", "--task", "detection", "--data", "set", "--batch", "1")
LEFT = ("detections.csv", "classes.png", "keyframes.png")


@pytest.mark.slow
def test_a_killed_test_ends_as_an_undisturbed_one_to_the_byte(expander: Run, tmp_path: Path) -> None:
    made(tmp_path / "set", train=1, val=20)
    saved(tmp_path, CLASSES, SPEC.with_classes(3), task="detection")
    assert expander(*WORDS, "--out", "whole.json").returncode == 0
    with Command([*WORDS, "--out", "cut.json"], tmp_path) as killed:
        assert killed.stderr.readline() == "testing: 4/40\n"
        killed.send_signal(signal.SIGKILL)
        assert killed.wait(60) == -signal.SIGKILL
    assert left_of(killed.pid) == set()
    scores = tmp_path / "cut.scores.jsonl"
    kept = scores.read_text()
    done = sum(len(json.loads(row)["frames"]) for row in kept.split("\n")[1:-1])
    assert 4 <= done < 40
    scores.write_text(kept + '{"schema": 5, "frames": [39], "sco')
    anew = expander(*WORDS, "--out", "cut.json")
    assert anew.returncode == 2
    assert f"has the scores of {done} of 40 key frames of this test, which was stopped" in anew.stderr
    assert "--resume goes on" in anew.stderr
    assert anew.stderr.count("\n") == 1
    assert scores.read_text().startswith(kept)
    other = expander(*WORDS, "--min-score", "0.9", "--out", "cut.json", "--resume")
    assert other.returncode == 2
    assert "scores of another test, it differs in min_score, data; delete it" in other.stderr
    again = expander(*WORDS, "--out", "cut.json", "--resume")
    assert again.returncode == 0, again.stderr
    assert not scores.exists()
    whole, cut = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("whole", "cut"))
    assert cut["key_frames_per_second"] * cut["seconds"] == pytest.approx(40 - done)
    for name in ("seconds", "key_frames_per_second", "seal"):
        del whole[name], cut[name]
    assert cut == whole
    for ending in ("detections.csv", "classes.png", "keyframes.png"):
        files = [tmp_path / f"{name}.{ending}" for name in ("cut", "whole")]
        assert files[0].read_bytes() == files[1].read_bytes(), ending


def test_what_cannot_be_is_refused_in_one_line(
    expander: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made(tmp_path / "set", train=1, val=1)
    saved(tmp_path, CLASSES, SPEC.with_classes(3), task="detection")
    lost = expander(*WORDS, "--resume")
    told = "error: --resume needs the --out of the test that was stopped\n"
    assert (lost.returncode, lost.stderr) == (2, told)
    dumped = expander(*WORDS, "--out", "r.json", "--dump-scores", "s.jsonl")
    told = ("error: --dump-scores: not of --task detection: all scores are in the NAME.detections.csv that a "
            "test leaves beside its result, --out NAME.json\n")  # fmt: skip
    assert (dumped.returncode, dumped.stderr) == (2, told)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="--resume needs the --out"):
        detect("net.yaml", "net.safetensors", "set", resume=True)


@pytest.mark.parametrize("task", ["detection", "classification"])
def test_a_second_test_leaves_the_first_its_scores_until_its_result_is_written(
    expander: Run, tmp_path: Path, task: Task
) -> None:
    """The first one stands still where nobody reads what it says of its figures."""
    if task == "detection":
        made(tmp_path / "set", train=1, val=2)
    else:
        for name in CLASSES:
            film(tmp_path / "set" / "val" / name / "a.mp4", 20, size=(66, 98))
            film(tmp_path / "set" / "train" / name / "b.mp4", 20, size=(66, 98))
    saved(tmp_path, CLASSES, SPEC.with_classes(3), task=task)
    words = ["test", "net.yaml", "net.safetensors", "--task", task, "--data", "set", "--out", "r.json"]
    os.mkfifo(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "out", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(writer, bytes(512))
    os.close(writer)
    with Command(words, tmp_path, str(tmp_path / "out")) as first, contextlib.ExitStack() as failed:
        failed.callback(first.kill)
        assert any(re.match(r"testing: (\d+)/\1$", line) for line in first.stderr)
        scores = tmp_path / "r.scores.jsonl"
        kept = scores.read_bytes()
        second = expander(*words)
        assert second.returncode == 6
        assert f"r.scores.jsonl: in use by process {first.pid}; wait or stop it" in second.stderr
        assert scores.read_bytes() == kept
        assert not (tmp_path / "r.json").exists()
        os.set_blocking(reader, True)
        while os.read(reader, 1 << 16):
            pass
        os.close(reader)
        assert first.wait(60) == 0
    assert (tmp_path / "r.json").exists()
    assert not list(tmp_path.glob("*scores*")) + list(tmp_path.glob(".*.lock"))


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_scores_of_another_task_are_told_and_left_alone(
    expander: Run, tmp_path: Path, resume: list[str]
) -> None:
    made(tmp_path / "set", train=1, val=2)
    film(tmp_path / "a.mp4", 20, size=(66, 98))
    (tmp_path / "one.txt").write_text("a.mp4 1\nbad.mp4 0\n")
    (tmp_path / "several.txt").write_text("a.mp4 1 2\nbad.mp4 0 1\n")
    for bad in (tmp_path / "bad.mp4", min((tmp_path / "set").rglob("*val*.mp4"))):
        bad.write_text("no video")
    calls = {"detection": ["--task", "detection", "--data", "set"],
             "classification": ["--val-ann", "one.txt", "--views", "1x1"],
             "several labels": ["--val-ann", "several.txt", "--views", "1x1", "--ann-format",
                                "multilabel"]}  # fmt: skip
    files = {}
    for task, words in calls.items():
        folder = tmp_path / task.split()[0]
        folder.mkdir()
        saved(folder, CLASSES, SPEC.with_classes(3), multi_label=task == "several labels",
              task="detection" if task == "detection" else "classification")  # fmt: skip
        words[:0] = ["test", f"{folder}/net.yaml", f"{folder}/net.safetensors", "--out", "r.json"]
        failed = expander(*words)  # which leaves its scores for a resume
        assert failed.returncode == 4, failed.stderr
        files[task] = (tmp_path / "r.scores.jsonl").read_bytes()
        (tmp_path / "r.scores.jsonl").unlink()
    for wrote, content in files.items():
        for task, words in calls.items():
            (tmp_path / "r.scores.jsonl").write_bytes(content)
            done = expander(*words, *resume)
            if task == wrote:
                assert done.returncode == 4, done.stderr
                continue
            told = f"r.scores.jsonl: scores of a test of {wrote}, and this is one of {task}; delete it"
            assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
            assert told in done.stderr
            assert (tmp_path / "r.scores.jsonl").read_bytes() == content
