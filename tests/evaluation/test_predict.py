"""From another library's checkpoint to class names of a video, by the command line and in Python."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from absent import NO_DECORD
from conftest import Run
from peers import create_x3d

import expander as package
from expander.config.space import dump_spec
from expander.errors import DataError, UsageError
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.weights.safetensors_file import save_weights

SMALL = Spec(Base(2, 8, 32, 8, (1, 2), 32, 3, width_divisor=8), bottleneck=2.25)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_weights(tmp_path / "w.safetensors", X3D(SMALL), SMALL, ("ant", "bee", "cat"))
    return tmp_path / "w.safetensors"


@pytest.fixture
def video(videos: Path) -> Path:
    return next(iter(sorted((videos / "videos" / "val").rglob("*.mp4"))))


def test_predict_gives_names_and_probabilities_that_sum_to_one(weights: Path, video: Path) -> None:
    network = package.load(str(weights))
    found = network.predict(video, topk=3)
    assert {row.label for row in found} == {"ant", "bee", "cat"}
    assert sum(row.probability for row in found) == pytest.approx(1, abs=1e-5)
    assert [row.probability for row in found] == sorted((row.probability for row in found), reverse=True)
    assert len(network.predict(video, topk=2)) == 2
    with pytest.raises(DataError, match="no such file"):
        network.predict("nowhere.mp4")


def test_one_view_is_the_middle_clip_at_the_centre_crop(weights: Path, video: Path) -> None:
    decord = pytest.importorskip("decord", reason=NO_DECORD)

    network = package.load(str(weights))
    reader = decord.VideoReader(str(video))
    start = (len(reader) - (2 - 1) * 8 - 1) // 2  # T = 2 at a stride of 8, as far before as after
    frames = torch.from_numpy(reader.get_batch([start, start + 8]).asnumpy()).permute(0, 3, 1, 2).float()
    high, wide = 36, frames.shape[3] * 36 // frames.shape[2]  # short side 8/7 of the crop, nearest even
    frames = torch.nn.functional.interpolate(frames / 255, (high, wide), mode="bilinear", align_corners=False)
    top, left = -(-(high - 32) // 2), -(-(wide - 32) // 2)
    clip = ((frames - 0.45) / 0.225)[:, :, top : top + 32, left : left + 32].permute(1, 0, 2, 3)
    with torch.inference_mode():
        wanted = network.network(clip[None]).softmax(1)[0]
    assert torch.allclose(network.probabilities(video, views=1), wanted, atol=1e-5)


@pytest.mark.slow
def test_a_checkpoint_goes_in_is_used_and_goes_out(expander: Run, tmp_path: Path, video: Path) -> None:
    spec = Spec(Base(2, 8, 64, 24, (1, 1, 1, 1), 2048, 3), bottleneck=2.25)
    (tmp_path / "spec.yaml").write_text(dump_spec(spec, "two frames"))
    theirs = create_x3d(Spec(Base(2, 8, 64, 24, (1, 2, 5, 3), 2048, 3), bottleneck=2.25), 64)
    torch.save({"model_state": theirs.state_dict()}, tmp_path / "peer.pyth")
    (tmp_path / "labels.json").write_text(json.dumps({"cat": 2, "ant": 0, "bee": 1}))
    done = expander("weights", "import", "peer.pyth", "--labels", "labels.json", "--out", "w.safetensors")
    assert done.returncode == 0, done.stderr
    assert "--spec decides" in done.stderr
    wrong = expander("weights", "import", "peer.pyth", "--spec", "spec.yaml", "--out", "x.safetensors")
    assert wrong.returncode == 2
    assert wrong.stderr.count("\n") == 1
    assert not (tmp_path / "x.safetensors").exists()
    (tmp_path / "clip.yaml").write_text(
        dump_spec(Spec(Base(2, 8, 64, 24, (1, 2, 5, 3), 2048, 400), bottleneck=2.25), "two frames")
    )
    shown = expander("predict", video, "--weights", "w.safetensors", "--spec", "clip.yaml", "--json")
    assert shown.returncode == 0, shown.stderr
    assert {row["label"] for row in json.loads(shown.stdout)} == {"ant", "bee", "cat"}
    sent = expander("weights", "export", "w.safetensors", "--to", "mmaction2", "--out", "mm.pth")
    assert sent.returncode == 0, sent.stderr
    assert set(torch.load(tmp_path / "mm.pth", weights_only=True)) == {"state_dict", "meta"}


def test_labels_must_be_as_many_as_classes(weights: Path, tmp_path: Path) -> None:
    from expander.cli.weights import read_labels
    from expander.evaluation.classifier import classifier

    (tmp_path / "two.txt").write_text("one\ntwo\n")
    with pytest.raises(UsageError, match="2 labels for 3 classes"):
        classifier(weights, labels=read_labels(tmp_path / "two.txt"))
    (tmp_path / "bad.json").write_text('{"a": 0, "b": 2}')
    with pytest.raises(DataError, match="from 0 to 1"):
        read_labels(tmp_path / "bad.json")


def test_a_pickle_is_refused_on_the_command_line_with_exit_3(expander: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.pyth").write_bytes(b"cos\nsystem\n(S'touch owned'\ntR.")
    done = expander("weights", "import", "bad.pyth", "--out", "w.safetensors")
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "owned").exists()


def test_a_video_that_takes_longer_than_it_may_is_told_and_read_with_more_time(
    weights: Path, video: Path, expander: Run
) -> None:
    command = "predict", str(video), "--weights", str(weights), "--decode-timeout"
    hasty = expander(*command, "1e-9")
    assert (hasty.returncode, hasty.stderr.count("\n")) == (3, 1)
    assert f"{video.name}: decoding it took over 1e-09 s" in hasty.stderr
    assert expander(*command, "90").returncode == 0
    assert expander(*command, "0").returncode == 2
