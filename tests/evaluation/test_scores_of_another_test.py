"""Scores of a test that was stopped are gone on with only by the same test: network of the file, protocol."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from conftest import Run
from films import film

from expander.config.space import dump_spec
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.weights.convert import to_library
from expander.weights.key_map import LIBRARIES

SPEC = Spec(Base(2, 8, 32, 24, (1, 2, 5, 3), 2048, 2), bottleneck=2.25)


@pytest.fixture
def arguments(tmp_path: Path) -> list[str]:
    """A test of a checkpoint with two networks, on two videos."""
    torch.manual_seed(0)
    networks = [to_library(X3D(SPEC), SPEC, LIBRARIES["slowfast"]) for _ in range(2)]
    torch.save({"model_state": networks[0], "model_ema": networks[1]}, tmp_path / "two.pyth")
    (tmp_path / "net.yaml").write_text(dump_spec(SPEC, "a network"))
    for name in "ab":
        film(tmp_path / f"{name}.mp4", 20, size=(66, 98))
    (tmp_path / "val.txt").write_text("a.mp4 0\nb.mp4 1\n")
    return ["test", "net.yaml", "two.pyth", "--val-ann", "val.txt", "--views", "1x1", "--out", "r.json",
            "--dump-scores", "s.jsonl"]  # fmt: skip


def test_another_network_of_the_same_checkpoint_is_another_test(
    expander: Run, tmp_path: Path, arguments: list[str]
) -> None:
    average = [*arguments, "--key", "model_ema"]
    assert expander(*average).returncode == 0
    assert json.loads((tmp_path / "r.json").read_text())["checkpoint"]["key"] == "model_ema"
    assert expander(*average, "--resume").returncode == 0
    for others in (arguments, [*arguments, "--key", "model_state"]):
        other = expander(*others, "--resume")
        assert other.returncode == 2
        assert "scores of another test, it differs in checkpoint; delete it" in other.stderr


def test_scores_at_the_short_side_of_earlier_versions_are_of_another_test(
    expander: Run, tmp_path: Path, arguments: list[str]
) -> None:
    """The protocol mmaction2 once took 192 pixels for X3D-S, and its scores do not say so."""
    theirs = [*arguments, "--protocol", "mmaction2"]
    assert expander(*theirs).returncode == 0
    assert expander(*theirs, "--resume").returncode == 0
    rows = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert rows[0].pop("short_side") == SPEC.test_size
    for row in rows:  # they had no checksums either
        del row["seal"], row["schema"]
    (tmp_path / "s.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    earlier = expander(*theirs, "--resume")
    assert earlier.returncode == 2
    assert "scores of another test, it differs in short_side; delete it" in earlier.stderr
