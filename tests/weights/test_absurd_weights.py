"""Weights files whose header or numbers are beyond any sense: told in one line, before a network is made."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Run
from foreign import SMALL, ours
from safetensors.torch import save

from expander.config.space import dump_spec
from expander.errors import DataError, ExpanderError, UsageError
from expander.weights.convert import to_library, to_ours
from expander.weights.detect import spec_of
from expander.weights.key_map import LIBRARIES, SLOWFAST
from expander.weights.safetensors_file import KEY, Header, load_weights, save_weights

NAMES = tuple("abcdefg")


def with_header(path: Path, spec: dict[str, Any]) -> Path:
    """The file of a network whose header says another spec."""
    header = asdict(Header(SMALL, NAMES)) | {"spec": asdict(SMALL) | spec}
    path.write_bytes(save(ours(SMALL).state_dict(), {KEY: json.dumps(header)}))
    return path


@pytest.mark.parametrize("spec", [
    {"depth": 1e6}, {"width": 1e6}, {"depth": 1e-320}, {"temporal": 1e300}, {"bottleneck": 10**400},
    {"base": asdict(SMALL.base) | {"depths": [1] * 1100}},
    {"base": asdict(SMALL.base) | {"depths": [1, 10**9]}},
    {"base": asdict(SMALL.base) | {"classes": 10**400}}, {"base": "x"}, {"more": 1},
])  # fmt: skip
def test_a_header_beyond_any_sense_is_told_before_a_network_is_made(
    tmp_path: Path, spec: dict[str, Any]
) -> None:
    begun = time.monotonic()
    with pytest.raises(DataError, match=r"x\.safetensors: its header is damaged: ") as caught:
        load_weights(with_header(tmp_path / "x.safetensors", spec))
    assert time.monotonic() - begun < 5
    assert "\n" not in str(caught.value)


def test_the_deepest_header_that_is_a_spec_is_told_as_weights_of_another(tmp_path: Path) -> None:
    begun = time.monotonic()
    with pytest.raises(UsageError, match="missing: "):
        load_weights(with_header(tmp_path / "x.safetensors", {"depth": 333.0}))
    assert time.monotonic() - begun < 20


def test_a_header_nested_deeply_or_no_json_is_told(tmp_path: Path) -> None:
    for text in ("[" * 100_000, "", "null", '{"spec": ' * 50_000, "{", "9" * 5000):
        (tmp_path / "x.safetensors").write_bytes(save(ours(SMALL).state_dict(), {KEY: text}))
        with pytest.raises(DataError, match="its header is damaged"):
            load_weights(tmp_path / "x.safetensors")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_weights_with_numbers_that_are_none_are_refused(tmp_path: Path, bad: float) -> None:
    network = ours(SMALL)
    network.stem.bn.running_var[0] = bad
    save_weights(tmp_path / "x.safetensors", network, SMALL, NAMES)
    with pytest.raises(DataError, match=r"stem.bn.running_var has numbers that are not finite .*diverged"):
        load_weights(tmp_path / "x.safetensors")
    for library in LIBRARIES.values():
        state = to_library(network, SMALL, library)
        with pytest.raises(DataError, match=r"f.pyth: .* has numbers that are not finite"):
            to_ours(state, SMALL, library, "f.pyth")


@pytest.mark.parametrize("change", ["a stage of no width", "no stage", "17 stages", "no classes"])
def test_a_foreign_state_of_sizes_that_no_network_has_is_told(change: str) -> None:
    state = to_library(ours(SMALL), SMALL, SLOWFAST)
    if change == "a stage of no width":
        state["s2.pathway0_res0.branch2.c.weight"] = torch.zeros(0, 0, 1, 1, 1)
    elif change == "no stage":
        state = {name: value for name, value in state.items() if "pathway0_res" not in name}
    elif change == "17 stages":
        for stage in range(4, 30):
            for part in ("a", "c"):
                name = f"pathway0_res0.branch2.{part}.weight"
                state[f"s{stage}.{name}"] = state[f"s3.{name}"]
    else:
        state["head.projection.weight"] = torch.zeros(0, 32)
    with pytest.raises(ExpanderError) as caught:
        spec_of(state, SLOWFAST, "f.pyth")
    assert str(caught.value).startswith("f.pyth: ")
    assert "\n" not in str(caught.value)


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_weights(tmp_path / "w.safetensors", ours(SMALL), SMALL, NAMES)
    return tmp_path / "w.safetensors"


def refused(expander: Run, code: int, words: str, *command: object) -> None:
    """One line with these words, and this exit code."""
    done = expander(*command)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_clip_too_large_for_memory_is_told_with_its_size(
    tmp_path: Path, videos: Path, expander: Run
) -> None:
    large = replace(SMALL, base=replace(SMALL.base, frames=9000, crop=9000))
    save_weights(tmp_path / "l.safetensors", ours(SMALL), large, NAMES)
    video = next((videos / "videos" / "val").rglob("*.mp4"))
    refused(expander, 6, " GB, and this machine has ", "predict", video, "--weights", "l.safetensors")
    (tmp_path / "l.yaml").write_text("base: {frames: 9000, crop: 9000}")
    refused(expander, 6, " GB, and this machine has ", "train", "l.yaml", "--run", "l")
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("device", ["meta", "xyz", "cuda:99", "", "cpu:x", "vulkan"])
def test_a_device_on_which_nothing_is_computed_is_refused(
    saved: Path, videos: Path, expander: Run, device: str
) -> None:
    (saved.parent / "s.yaml").write_text(dump_spec(SMALL, "a network"))
    lists = [f"--{name}-ann={videos / name}.txt" for name in ("train", "val")]
    command = ["test", "s.yaml", saved, *lists, "--data-root", videos]
    refused(expander, 2, "--device", *command, "--device", device)


def test_pipes_and_devices_are_no_weights(tmp_path: Path, expander: Run) -> None:
    os.mkfifo(tmp_path / "w.safetensors")
    for file in ("w.safetensors", "/dev/zero"):
        refused(expander, 3, "no regular file", "predict", "x.mp4", "--weights", file)
        refused(expander, 3, "no regular file", "weights", "import", file, "--out", "o.safetensors")
