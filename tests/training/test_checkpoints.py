"""Checkpoints: the newest undamaged one counts, nothing half written does."""

from __future__ import annotations

import logging
import pickle
from pathlib import Path

import pytest
import torch

from expander.errors import EnvironmentFault
from expander.training.checkpoints import KEPT, Checkpoints


def saved(folder: Path, steps: int) -> Checkpoints:
    checkpoints = Checkpoints(folder)
    for step in range(1, steps + 1):
        checkpoints.save(step, {"step": step, "weight": torch.full((3,), float(step))})
    return checkpoints


def step_of(checkpoints: Checkpoints) -> int | None:
    state = checkpoints.newest()
    return None if state is None else state["step"]


def test_the_newest_counts_and_two_are_kept(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 4)
    state = checkpoints.newest()
    assert state is not None
    assert state["step"] == 4
    assert torch.equal(state["weight"], torch.full((3,), 4.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:08d}.{kind}" for step in (3, 4) for kind in ("json", "pt")
    ]
    assert KEPT == 2


def test_there_is_none_in_a_folder_that_is_empty_missing_or_cleared(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path).newest() is None
    assert Checkpoints(tmp_path / "none").newest() is None
    checkpoints = saved(tmp_path, 2)
    checkpoints.clear()
    assert checkpoints.newest() is None
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "text", "gone", "manifest"])
def test_a_damaged_checkpoint_is_warned_of_and_the_one_before_it_used(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = saved(tmp_path, 2)
    file = tmp_path / "step-00000002.pt"
    content = file.read_bytes()
    match damage:
        case "truncated":
            file.write_bytes(content[: len(content) // 2])
        case "flipped":
            file.write_bytes(content[:-9] + bytes([content[-9] ^ 1]) + content[-8:])
        case "empty":
            file.write_bytes(b"")
        case "text":
            file.write_text("not a checkpoint")
        case "gone":
            file.unlink()
        case "manifest":
            file.with_suffix(".json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        assert step_of(checkpoints) == 1
    assert "step-00000002.json: damaged checkpoint" in caplog.text


def test_a_file_whose_manifest_a_kill_prevented_does_not_count(tmp_path: Path) -> None:
    checkpoints = saved(tmp_path, 2)
    (tmp_path / "step-00000002.json").unlink()
    assert step_of(checkpoints) == 1


class _Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return exec, ("raise SystemExit('code of a checkpoint was run')",)


def test_code_in_a_checkpoint_is_never_run(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"step": 1})
    checkpoints.save(2, {"step": 2, "evil": _Evil()})
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "step-00000002.pt", weights_only=True)
    assert step_of(checkpoints) == 1


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFault, match=r"file/step-00000001\.pt: cannot be written"):
        Checkpoints(tmp_path / "file").save(1, {"step": 1})
