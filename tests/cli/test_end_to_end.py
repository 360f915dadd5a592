"""The whole chain as the README tells it: search, contract, train, test, report, export. Slow."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import Run

from expander.training.training_folder import TrainingFolder
from expander.weights.safetensors_file import load_weights

pytestmark = pytest.mark.slow
TRAINING = ("train.epochs=6", "train.batch=8", "train.lr=0.8", "train.precise_bn=2", "train.validate_every=3")


def test_from_videos_to_weights_for_others(
    expander: Run, micro: list[str], videos: Path, tmp_path: Path
) -> None:
    def ran(*arguments: object) -> str:
        done = expander(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    data = micro[micro.index("--train-ann") :]
    ran(*micro, "--run", "grown", "--backend", "inline", "--max-steps", "2")
    assert "spec: " in ran("contract", "grown", "--target-gflops", "0.0003")
    contracted = tmp_path / "runs" / "grown" / "specs" / "contracted-0.0003.yaml"
    settings = [f"--set={setting}" for setting in TRAINING]
    ran("train", contracted, *data, "--run", "small", *settings)
    ran("train", "grown:final", "--run", "trained", *settings)  # on the videos of the run
    for name in ("small", "trained"):
        training = TrainingFolder(tmp_path / "runs" / name).read()
        assert training.state == "finished"
        assert training.best is not None
    ran("test", "trained", "--views", "10")
    tested = json.loads((tmp_path / "runs" / "trained" / "tests" / "best-expander-10x1.json").read_text())
    listed = len((videos / "val.txt").read_text().splitlines())
    assert (tested["n"], tested["n_failed"], tested["views"]) == (listed, 0, {"clips": 10, "crops": 1})
    video = next((videos / "videos" / "val").rglob("*.mp4"))
    found = json.loads(ran("predict", video, "--weights", "trained", "--topk", "24", "--json"))
    assert sum(row["probability"] for row in found) == pytest.approx(1, abs=1e-4)
    assert "grown" in ran("report", "grown")
    assert "best_video_top1" in ran("report", "trained")
    out = tmp_path / "slowfast.pyth"
    assert "logits within" in ran("weights", "export", "trained", "--to", "slowfast", "--out", out)
    back = tmp_path / "back.safetensors"
    ran("weights", "import", out, "--spec", "grown:final", "--out", back)
    ours, theirs = (load_weights(file) for file in (TrainingFolder(tmp_path / "runs/trained").best, back))
    clip = torch.rand(2, 3, ours.spec.frames, ours.spec.crop, ours.spec.crop)
    with torch.inference_mode():
        assert torch.allclose(ours.network(clip), theirs.network(clip), atol=1e-5)
