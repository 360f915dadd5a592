"""A test of prepared videos that tells what their originals give."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Run
from films import film
from saved_networks import SPEC, saved

from expander.data.annotations import VideoList
from expander.evaluation.paired import accuracy_differences, precision_difference
from expander.weights.safetensors_file import save_weights

CLASSES = ("run fast", "wave")
TEST = ("test", "net.yaml", "net.safetensors", "--views", "2x1", "--topk", "1", "--data", "out")


def scores_of(file: Path) -> dict[str, tuple[int, np.ndarray]]:
    """By video: its label and its scores."""
    rows = (json.loads(line) for line in file.read_text().splitlines()[1:])
    return {row["video"]: (row["label"], np.array(row["scores"])) for row in rows if "scores" in row}


@pytest.fixture
def prepared(expander: Run, tmp_path: Path) -> Path:
    """films/, one of its validation videos damaged, out/ prepared from it, and a random network."""
    for number in range(12):
        split = "val" if number % 3 else "train"
        film(tmp_path / "films" / split / CLASSES[number % 2] / f"{number}.mp4", 12 + number, size=(96, 128))
    bad = tmp_path / "films" / "val" / CLASSES[0] / "2.mp4"
    bad.write_bytes(bad.read_bytes()[:700])
    network = saved(tmp_path, CLASSES)
    done = expander("data", "prepare", "films", "--out", "out", "--short-side", "48", "--crf", "51")
    assert done.returncode == 4, done.stderr
    done = expander(*TEST, "--allow-missing", "--dump-scores", "first.jsonl")
    assert done.returncode == 0, done.stderr
    # Moved so that it sees half of the videos in one class, half in the other.
    scores = np.array([row for _, row in scores_of(tmp_path / "first.jsonl").values()])
    lead = np.median(np.log(scores[:, 1] / scores[:, 0]))
    with torch.no_grad():
        network.head.fc2.bias += torch.tensor([lead / 2, -lead / 2])
    spec = SPEC.with_classes(len(CLASSES))
    save_weights(tmp_path / "net.safetensors", network, spec, CLASSES)
    return tmp_path


def test_both_are_tested_and_the_difference_is_that_of_their_scores(expander: Run, prepared: Path) -> None:
    more = ("--out", "a.json", "--dump-scores", "a.jsonl", "--allow-missing", "--originals", "films")
    done = expander(*TEST, *more)
    assert done.returncode == 0, done.stderr
    ours, theirs = scores_of(prepared / "a.jsonl"), scores_of(prepared / "a-originals.jsonl")
    assert len(ours) == len(theirs) == 7
    twins = {Path(name).stem: name for name in theirs}
    pairs = [(label, scores, theirs[twins[_number(name)]]) for name, (label, scores) in ours.items()]
    assert all(label == other for label, _, (other, _) in pairs)
    hits = [int(scores.argmax() == label) - int(second.argmax() == label)
            for label, scores, (_, second) in pairs]  # fmt: skip
    same = sum(scores.argmax() == second.argmax() for _, scores, (_, second) in pairs)
    found = json.loads((prepared / "a.json").read_text())["originals"]
    assert any(hits)
    assert same < 7
    assert (found["videos"], found["same"]) == (7, same)
    assert found["difference"]["top1"]["value"] == pytest.approx(np.mean(hits))
    assert f"prepared less original, 7 videos; the likeliest class is the same in {same}" in done.stdout
    alone = expander(*TEST[:-1], "films", "--out", "b.json", "--allow-missing")
    assert alone.returncode == 0, alone.stderr
    second = json.loads((prepared / "a-originals.json").read_text())
    assert second["metrics"] == json.loads((prepared / "b.json").read_text())["metrics"]

    cut = prepared / "a-originals.jsonl"  # as if it had been stopped in the second test
    cut.write_text("".join(cut.read_text().splitlines(keepends=True)[:4]))
    before = (prepared / "a.jsonl").read_bytes(), cut.read_bytes()
    done = expander(*TEST, *more)
    assert done.returncode == 2
    assert re.search(r"a-originals.jsonl: has the scores of [23] of 8 videos of this test", done.stderr)
    assert before == ((prepared / "a.jsonl").read_bytes(), cut.read_bytes())
    done = expander(*TEST, *more, "--resume")
    assert done.returncode == 0, done.stderr
    assert json.loads((prepared / "a.json").read_text())["originals"] == found


def _number(name: str) -> str:
    """What an original is called whose prepared video is videos/3f/CLASS_NUMBER-DIGEST.mp4."""
    found = re.search(r"_(\d+)-[0-9a-f]{16}$", Path(name).stem)
    assert found
    return found[1]


@pytest.mark.parametrize(("data", "originals", "code", "said"), [
    ("films", "films", 2, "goes with --data of prepared videos; films has no manifest.parquet"),
    ("out", "others", 3, "videos there are none of those that out was prepared from"),
    ("out", "swapped", 3, "videos there have other labels than those that out was prepared from"),
])  # fmt: skip
def test_other_videos_than_the_originals_are_refused_before_anything_is_tested(
    expander: Run, prepared: Path, data: str, originals: str, code: int, said: str
) -> None:
    for file in shutil.copytree(prepared / "films", prepared / "others").rglob("*.mp4"):
        file.rename(file.with_stem(f"{file.stem}-again"))
    swapped = shutil.copytree(prepared / "films", prepared / "swapped")
    for split in ("train", "val"):
        rows = (f"{file.relative_to(swapped)} {CLASSES.index(file.parent.name) ^ 1}\n"
                for file in sorted((swapped / split).rglob("*.mp4")))  # fmt: skip
        (swapped / f"{split}.txt").write_text("".join(rows))
    (swapped / "classes.txt").write_text("\n".join(CLASSES))
    ended, scores = prepared / "d.jsonl", ("--dump-scores", "d.jsonl")
    assert expander(*TEST, *scores, "--allow-missing").returncode == 0
    before = ended.read_bytes()
    done = expander(*TEST[:-1], data, "--originals", originals, "--out", "a.json", *scores)
    assert done.returncode == code, done.stderr
    told = done.stderr.strip().splitlines()[-1].replace(f"{prepared}/", "")
    assert told == f"error: --originals: {said}"
    assert not (prepared / "a.json").exists()
    assert ended.read_bytes() == before
    assert {file.name for file in prepared.glob("*.jsonl")} == {ended.name, "first.jsonl"}


def test_intervals_of_differences_are_paired() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((500, 4)).astype(np.float32)
    others, labels = scores.copy(), rng.integers(4, size=500)
    others[:100] = rng.random((100, 4))
    difference = accuracy_differences(scores, others, labels, (1, 2))
    lead = (scores.argmax(1) == labels).astype(float) - (others.argmax(1) == labels)
    half = 1.96 * lead.std() / 500**0.5  # of a mean of 500 independent values
    row = difference["top1"]
    assert row["value"] == pytest.approx(lead.mean())
    normal = lead.mean() - half, lead.mean() + half
    assert (row["low"], row["high"]) == pytest.approx(normal, abs=0.15 * half)
    same = accuracy_differences(scores, scores, labels, (1,))
    assert same == {"top1": {"value": 0, "low": 0, "high": 0}}
    truth = VideoList(("",) * 3, ((0,), (1,), (0, 1))).truth(2)
    right, wrong = truth.astype(np.float32), 1 - truth.astype(np.float32)
    # Ranked last, the two of three positives come at ranks 2 and 3: (1/2 + 2/3) / 2, or as one step 2 / 3.
    found = precision_difference(right, wrong, truth)["mean_average_precision"]
    assert found["value"] == pytest.approx(1 - 2 / 3)
