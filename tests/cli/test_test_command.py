"""`expander test` as a user calls it: results, broken files, stop and resume, whose weights and classes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from films import film
from saved_networks import SPEC, saved

from expander.cli.main import cli
from expander.cli.test import METRICS, PROTOCOLS, repeated
from expander.config.settings import DataConfig
from expander.data.sources import open_data
from expander.errors import ExpanderError
from expander.evaluation import result as results
from expander.evaluation.multiview import Scorer
from expander.runs.ownership import taken
from expander.specs.spec import Base, Spec
from expander.video import view_protocols
from expander.video.decoder import Decoder
from expander.video.view_protocols import Views
from expander.video.views import Look, look
from expander.weights.checkpoint_file import sha256_of
from expander.weights.convert import to_library
from expander.weights.key_map import LIBRARIES


def result(folder: Path, name: str = "result.json") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def test_several_values_after_one_option_are_all_its_values() -> None:
    words = "x3d_s w.pth --eval top_k_accuracy mean_class_accuracy --topk 1 5 --out r.json"
    expected = (
        "x3d_s w.pth --eval top_k_accuracy --eval mean_class_accuracy --topk 1 --topk 5 --out r.json"
    )
    assert repeated(words.split()) == expected.split()
    assert repeated(["--topk", "1", "x3d_s", "5"]) == ["--topk", "1", "x3d_s", "5"]
    assert repeated(["--eval", "top_k_accuracy", "x3d_s", "w.pth"])[-2:] == ["x3d_s", "w.pth"]


def test_the_command_offers_the_metrics_and_protocols_that_there_are() -> None:
    """It has lists of its own, for its --help to import no numpy."""
    assert (*results.METRICS, *results.MULTI_LABEL_METRICS) == METRICS
    assert view_protocols.PROTOCOLS == PROTOCOLS


def test_a_test_says_what_it_measured_and_how(expander: Run, tmp_path: Path, videos: Path) -> None:
    data = open_data(DataConfig(folder=str(videos)))
    network = saved(tmp_path, data.classes)
    done = expander(
        "test", "net.yaml", "net.safetensors", "--data", videos, "--views", "2x3", "--eval", "top_k_accuracy",
        "mean_class_accuracy", "--topk", "1", "5", "--average-clips", "score", "--out", "result.json",
        "--dump-scores", "scores.jsonl",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = result(tmp_path)
    assert (found["schema"], found["n"], found["n_failed"], found["failed"]) == (2, 24, 0, [])
    assert found["checkpoint"]["sha256"] == sha256_of(tmp_path / "net.safetensors")
    assert (found["protocol"], found["average_clips"]) == ("expander", "score")
    assert found["views"] == {"clips": 2, "crops": 3}
    assert found["cost"]["macs_per_video"] == 6 * found["cost"]["macs_per_view"]
    assert found["reference"] is None
    assert tuple(found["classes"]) == data.classes
    scorer = Scorer(network, Look(SPEC.with_classes(24), Views(2, 3)), "score")
    head, *lines = (tmp_path / "scores.jsonl").read_text().splitlines()
    assert json.loads(head)["checkpoint"] == found["checkpoint"]["sha256"]
    rows = [json.loads(line) for line in lines]
    decoder = Decoder()
    scores = np.stack([scorer.video(look(path, scorer.how, decoder)) for path in data.val.paths])
    np.testing.assert_allclose([row["scores"] for row in rows], scores, atol=1e-4)
    assert [row["label"] for row in rows] == list(data.val.labels)
    right = scores.argmax(1) == np.array(data.val.labels)
    assert found["metrics"]["top1"]["value"] == pytest.approx(right.mean())
    assert found["metrics"]["mean_class_accuracy"]["value"] == pytest.approx(right.mean())
    # There is one video a class, so both accuracies are the same.
    ranks = (-scores).argsort(1)[:, :5]
    top5 = np.mean([label in row for label, row in zip(data.val.labels, ranks, strict=True)])
    assert found["metrics"]["top5"]["value"] == pytest.approx(top5)
    assert all(row["low"] <= row["value"] <= row["high"] for row in found["metrics"].values())
    assert sum(row[2] for row in found["confusion"]) == 24
    assert (tmp_path / "result.confusion.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "result.confusion.csv").read_text().splitlines()) == 25
    assert "top5" in done.stdout
    assert "24 of 24" in done.stdout


@pytest.mark.slow
def test_a_killed_test_goes_on_where_it_was(
    expander: Run, environment: dict[str, str], tmp_path: Path, videos: Path
) -> None:
    saved(tmp_path, open_data(DataConfig(folder=str(videos))).classes)
    arguments = ["test", "net.yaml", "net.safetensors", "--data", str(videos), "--views", "1x1"]
    assert expander(*arguments, "--out", "whole.json", "--dump-scores", "whole.jsonl").returncode == 0
    with subprocess.Popen(
        [sys.executable, "-m", "expander.cli", *arguments, "--out", "result.json"],
        cwd=tmp_path, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True,
    ) as killed:  # fmt: skip
        assert killed.stderr is not None
        assert killed.stderr.readline().startswith("testing: 3/24")
        killed.send_signal(signal.SIGKILL)
    scores = tmp_path / "result.scores.jsonl"
    kept = scores.read_text()
    done_before = kept.count("\n") - 1
    assert 3 <= done_before < 24
    scores.write_text(kept + '{"video": "cut off by the ki')
    anew = expander(*arguments, "--out", "result.json")
    assert anew.returncode == 2
    assert f"result.scores.jsonl: has the scores of {done_before} of 24 videos of this test" in anew.stderr
    assert "--resume goes on" in anew.stderr
    assert "delete it, or write to another file (--out, --dump-scores)" in anew.stderr
    assert anew.stderr.count("\n") == 1
    assert scores.read_text().startswith(kept)
    other = expander(*arguments, "--average-clips", "score", "--out", "result.json", "--resume")
    assert other.returncode == 2
    assert "another test, it differs in average_clips" in other.stderr
    again = expander(*arguments, "--out", "result.json", "--dump-scores", scores, "--resume")
    assert again.returncode == 0, again.stderr
    assert scores.read_text() == (tmp_path / "whole.jsonl").read_text()
    first, second = result(tmp_path, "whole.json"), result(tmp_path)
    for name in ("seconds", "videos_per_second", "seal"):
        del first[name], second[name]
    assert first == second


def test_missing_and_broken_videos_are_counted_listed_and_exit_4_unless_allowed(
    expander: Run, tmp_path: Path
) -> None:
    saved(tmp_path, ("a", "b"), SPEC.with_classes(2))
    film(tmp_path / "v" / "good one.mp4", 20, size=(66, 98))
    film(tmp_path / "v" / "-rf.webm", 3, codec="libvpx-vp9", size=(66, 98))
    (tmp_path / "v" / "bad.mp4").write_bytes(b"<html>")
    (tmp_path / "val.txt").write_text("good one.mp4 0\nbad.mp4 1\ngone.mp4 1\n-rf.webm 1\n")
    arguments = ["test", "net.yaml", "net.safetensors", "--val-ann", "val.txt", "--data-root", "v",
                 "--views", "2x1", "--out", "result.json"]  # fmt: skip
    done = expander(*arguments)
    assert done.returncode == 4
    assert "2 videos failed" in done.stderr
    found = result(tmp_path)
    assert (found["n"], found["n_failed"]) == (2, 2)
    reasons = {row["path"]: row["reason"] for row in found["failed"]}
    assert reasons["gone.mp4"] == "no such file"
    assert reasons["bad.mp4"].startswith("cannot be opened")
    allowed = expander(*arguments, "--allow-missing", "--resume")
    assert allowed.returncode == 0, allowed.stderr
    assert result(tmp_path)["n_failed"] == 2
    (tmp_path / "val.txt").write_text("gone.mp4 1\n")
    none = expander(*arguments, "--allow-missing")
    assert none.returncode == 3
    assert none.stderr.count("\n") == 1


@pytest.mark.slow
def test_a_video_that_takes_longer_than_the_timeout_is_listed_and_with_a_longer_one_read(
    expander: Run, tmp_path: Path
) -> None:
    saved(tmp_path, ("a", "b"), SPEC.with_classes(2))
    film(tmp_path / "small.mp4", 20, size=(66, 98))
    large = film(tmp_path / "large.avi", 60, size=(720, 1280))
    large.rename(tmp_path / "later.avi")
    (tmp_path / "val.txt").write_text("small.mp4 0\nlarge.avi 1\n")
    arguments = ["test", "net.yaml", "net.safetensors", "--val-ann", "val.txt", "--views", "2x1",
                 "--out", "result.json"]  # fmt: skip
    assert expander(*arguments).returncode == 4  # the small one has its scores now
    (tmp_path / "later.avi").rename(large)
    short = expander(*arguments, "--resume", "--decode-timeout", "0.000001")
    assert short.returncode == 4
    assert "failed: large.avi: decoding it took over 1e-06 s" in short.stderr
    assert result(tmp_path)["n"] == 1
    long = expander(*arguments, "--resume", "--decode-timeout", "600")
    assert long.returncode == 0, long.stderr
    assert (result(tmp_path)["n"], result(tmp_path)["n_failed"]) == (2, 0)


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "inf", "soon"])
@pytest.mark.parametrize("command", ["test", "predict"])
def test_a_timeout_that_is_no_time_is_refused_in_one_line(expander: Run, command: str, seconds: str) -> None:
    words = {"test": ["net.yaml", "w.safetensors"], "predict": ["v.mp4", "--weights", "w.safetensors"]}
    done = expander(command, *words[command], "--decode-timeout", seconds)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "--decode-timeout" in done.stderr


def test_scores_that_another_test_writes_are_left_to_it(expander: Run, tmp_path: Path, videos: Path) -> None:
    saved(tmp_path, open_data(DataConfig(folder=str(videos))).classes)
    command = ["test", "net.yaml", "net.safetensors", "--data", videos, "--views", "1x1", "--out",
               "new/r.json"]  # fmt: skip
    lock = taken(tmp_path / "new" / "r.scores.jsonl")
    refused = expander(*command)
    assert refused.returncode == 6
    assert f"new/r.scores.jsonl: in use by process {os.getpid()}; wait or stop it" in refused.stderr
    lock.give_up()
    assert list((tmp_path / "new").iterdir()) == []
    assert expander(*command).returncode == 0
    left = {path.name for path in (tmp_path / "new").iterdir()}
    assert "r.json" in left
    assert not any("scores" in name for name in left)


def test_of_videos_of_one_class_it_is_said_what_accuracy_means(expander: Run, tmp_path: Path) -> None:
    saved(tmp_path, ("run", "sit"), SPEC.with_classes(2))
    for name, label in (("a", 1), ("b", 1), ("c", 0)):
        film(tmp_path / f"{name}.mp4", 20 + label, size=(66, 98))
    arguments = ["test", "net.yaml", "net.safetensors", "--val-ann", "val.txt", "--views", "1x1"]
    told = "one class            all are of sit: accuracy is the recall of that class only"
    (tmp_path / "val.txt").write_text("a.mp4 1\nb.mp4 1\n")
    done = expander(*arguments)
    assert done.returncode == 0, done.stderr
    assert told in done.stdout
    (tmp_path / "val.txt").write_text("a.mp4 1\nb.mp4 1\nc.mp4 0\n")
    assert "one class" not in expander(*arguments).stdout


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        ("net.yaml", 2, "CHECKPOINT is missing"),
        ("net.yaml net.safetensors --views 7", 2, "views '7'"),
        ("net.yaml net.safetensors --val-ann gone.txt", 3, "gone.txt: cannot be read"),
        ("net.yaml net.safetensors --val-ann val.txt --resume", 2, "--resume needs"),
        ("net.yaml net.safetensors --val-ann val.txt --device abacus", 2, "--device abacus"),
        ("net.yaml net.safetensors --val-ann val.txt --out no/where/r.json", 6, "no/where"),
        ("net.yaml gone.safetensors --val-ann val.txt", 3, "gone.safetensors: cannot be read"),
        ("net.yaml net.yaml --val-ann val.txt", 3, "no checkpoint that can be trusted"),
        ("x3d_s net.safetensors --val-ann val.txt", 2, "not the weights of"),
        ("mine:final --val-ann val.txt", 2, "no run 'mine'"),
    ],
)
def test_a_wrong_request_is_told_in_one_line_before_anything_is_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, code: int, text: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved(tmp_path, ("a", "b"), SPEC.with_classes(2))
    (tmp_path / "v.mp4").write_bytes(b"no video")
    (tmp_path / "val.txt").write_text("v.mp4 0\n")
    (tmp_path / "no").write_bytes(b"a file where a folder should be")
    with pytest.raises(ExpanderError) as error:
        cli.main(["test", *arguments.split()], standalone_mode=False)
    assert error.value.exit_code == code
    assert text in str(error.value)
    assert "\n" not in str(error.value)


def test_a_checkpoint_of_another_library_is_tested_as_it_is(expander: Run, tmp_path: Path) -> None:
    spec = Spec(Base(2, 8, 32, 24, (1, 2, 5, 3), 2048, 2), bottleneck=2.25)
    network = saved(tmp_path, ("a", "b"), spec)
    state = to_library(network, spec, LIBRARIES["mmaction2"])
    torch.save({"state_dict": state, "meta": {}}, tmp_path / "theirs.pth")
    film(tmp_path / "a.mp4", 20, size=(66, 98))
    film(tmp_path / "b.mp4", 30, size=(66, 98))
    (tmp_path / "val.txt").write_text("a.mp4 0\nb.mp4 1\n")
    dumped = []
    for checkpoint in ("net.safetensors", "theirs.pth"):
        done = expander("test", "net.yaml", checkpoint, "--val-ann", "val.txt", "--protocol", "mmaction2",
                        "--views", "1x3", "--dump-scores", f"{checkpoint}.jsonl")  # fmt: skip
        assert done.returncode == 0, done.stderr
        lines = (tmp_path / f"{checkpoint}.jsonl").read_text().splitlines()[1:]
        dumped.append([json.loads(line)["scores"] for line in lines])
    np.testing.assert_allclose(dumped[0], dumped[1], atol=1e-6)
