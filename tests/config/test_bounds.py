"""Numbers beyond any sense are refused with the reason, before anything is computed with them."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from conftest import Run

from expander.config.bounds import MOST
from expander.config.load import load_settings, load_training
from expander.config.settings import (
    BackendConfig,
    Budget,
    DataConfig,
    Recipe,
    Selection,
    TrainRecipe,
)
from expander.config.space import load_space, load_spec
from expander.errors import UsageError
from expander.specs.spec import AXES, Base, Spec
from expander.video.view_protocols import Views, parse_views

HUGE = "9" * 400
SETTINGS = (Recipe, TrainRecipe, DataConfig, Selection, BackendConfig, Budget)


def told(call: Any, *arguments: Any) -> str:
    """The line that something is refused with, at once."""
    begun = time.monotonic()
    with pytest.raises(UsageError) as caught:
        call(*arguments)
    assert time.monotonic() - begun < 5
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize("kind", SETTINGS)
def test_every_number_of_the_settings_has_a_most(kind: Any) -> None:
    for name in MOST:
        if name not in kind.__dataclass_fields__:
            continue
        with pytest.raises(ValueError, match=rf"{name} must be at most [0-9,]+ \(.+\), not 9{{20}}…"):
            kind(**{name: 10**400 // 9 * 9})


@pytest.mark.parametrize("override", [
    "selection.seeds=1000000000", "proxy.steps=1e400", f"proxy.steps={HUGE}", f"proxy.lr={HUGE}",
    "proxy.views=1000000000", f"base.crop={HUGE}", "base.frames=1000000", f"base.depths=[{'1, ' * 1100}]",
    "base.depths=[1000000]", "axes.depth.limit=1e300", f"axes.depth.limit={HUGE}", f"axes.depth.step={HUGE}",
    "axes.width.limit=1000000", "axes.spatial.limit=10000", "step_factor=1e300", "budget.hours=1e300",
    "data.workers=1000000000", "data.decode_timeout=1e300", "backend.max_failures=1000000000",
    f"proxy.steps=0x{'f' * 5000}", f"proxy.steps={'9' * 5000}",
    f"selection.rungs=[{', '.join(f'0.{n:05d}' for n in range(1, 2000))}]",
])  # fmt: skip
def test_an_absurd_setting_is_refused_in_a_line(override: str) -> None:
    assert override.partition("=")[0] in told(load_settings, "x3d", [override], {})


@pytest.mark.parametrize("override", ["train.epochs=1000000000", f"train.batch={HUGE}", "train.lr=1e400"])
def test_an_absurd_training_is_refused_in_a_line(override: str) -> None:
    told(load_training, "x3d", [override], {})


@pytest.mark.parametrize("text", [
    f"base: {{depths: [{', '.join(['1'] * 1100)}]}}", "base: {depths: [1000000]}", "depth: 1000000",
    "depth: 1e-320", "frame_rate: 1e-320", "width: 1e-7", f"depth: {HUGE}", f"base: {{crop: {HUGE}}}",
    "{base: {frames: 4}, temporal: 1e6}", "spatial: 1e6", "width: 1e6", "base: {classes: 10000000}",
])  # fmt: skip
def test_an_absurd_spec_is_refused_in_a_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    assert "s.yaml:1:" in told(load_spec, str(tmp_path / "s.yaml"))


def test_the_reason_is_said() -> None:
    with pytest.raises(ValueError, match=r"depth of 11,000,000 blocks: at most 2,000 in all \(blocks, many"):
        Spec(depth=1e6)
    with pytest.raises(ValueError, match=r"base.depths must be at most 16 stages, each of which halves"):
        Base(depths=(1,) * 17)
    with pytest.raises(ValueError, match=r"crop of 1,120,000 a clip: at most 100,000 \(pixels that no film"):
        Spec(spatial=10_000)


def test_ten_times_the_largest_published_network_is_allowed() -> None:
    xl = load_spec("x3d_xl")
    for axis in AXES:
        assert xl.with_factor(axis, 10 * getattr(xl, axis)).sizes != xl.sizes


def test_a_space_whose_limits_make_no_network_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("axes:\n  depth: {step: 2, limit: 1000}\n")
    line = told(load_space, str(tmp_path / "s.yaml"))
    assert "s.yaml:2:20: SearchSpace: axes.depth.limit 1000 makes no network: depth of 11,000" in line


@pytest.mark.parametrize("text", ["1000000000x1", f"{HUGE}x1", f"{'9' * 5000}x3", "1001x1"])
def test_more_views_than_anybody_waits_for_are_refused(text: str) -> None:
    told(parse_views, text)
    assert parse_views("1000x3") == Views(1000, 3)


@pytest.mark.parametrize("command", [
    ["predict", "x.mp4", "--weights", "w", "--views", "1000000000"],
    ["search", "--target-gflops", "1", "--seed", HUGE], ["search", "--target-gflops", HUGE],
    ["search", "--target-gflops", "1", "--cpus-per-trial", HUGE],
    ["search", "--target-gflops", "1", "--max-hours", "1e300"],
    ["train", "x3d_s", "--workers-ddp", "1000000"], ["train", "x3d_s", "--epochs", HUGE],
    ["test", "x3d_s", "w", "--topk", HUGE], ["status", "r", "--watch", "--every", "inf"],
    ["predict", "x.mp4", "--weights", "w", "--views", "9" * 5000],
])  # fmt: skip
def test_an_absurd_option_is_refused_in_a_line(expander: Run, command: list[str]) -> None:
    done = expander(*command)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
