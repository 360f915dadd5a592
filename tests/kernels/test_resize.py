"""Resize and crop by the own kernel against torch's operators, and against the definition in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from expander.kernels.choice import VARIABLE, compiled_by_numba
from expander.kernels.frames.resize import Taps, resize_crop

pytestmark = pytest.mark.skipif(compiled_by_numba("frames.resize_numba") is None, reason="needs numba")
arithmetic = settings(
    deadline=None, derandomize=True, max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
SCALE, SHIFT = 57.375, 2.0


def taps(random: np.random.Generator, source: int, count: int) -> Taps:
    """Places that rise or fall, some with a weight of exactly 0 or a half."""
    places = np.sort(random.uniform(0, source - 1, count))[:: random.choice([-1, 1])]
    first = np.floor(places).astype(np.int64)
    weight = np.where(random.random(count) < 0.2, random.choice([0.0, 0.5], count), places - first)
    return Taps(np.stack([first, np.minimum(first + 1, source - 1)]), weight.astype(np.float32))


def exact(frames: Tensor, down: Taps, across: Taps) -> Tensor:
    """By the definition, in double precision."""
    source, sides = frames.double().numpy(), []
    for row in down.neighbours:
        for column in across.neighbours:
            sides.append(source[:, row][:, :, column])
    a, b = down.weight.astype(float)[:, None, None], across.weight.astype(float)[:, None]
    mean = (sides[0] * (1 - b) + sides[1] * b) * (1 - a) + (sides[2] * (1 - b) + sides[3] * b) * a
    return torch.from_numpy(mean / SCALE - SHIFT)


@arithmetic
@given(
    seed=st.integers(0, 10_000), count=st.integers(1, 3), whole=st.booleans(),
    source=st.tuples(st.integers(1, 60), st.integers(1, 60)),
    target=st.tuples(st.integers(1, 70), st.integers(1, 70)),
)  # fmt: skip
def test_the_kernel_gives_what_torch_gives(
    seed: int, count: int, source: tuple[int, int], target: tuple[int, int], whole: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    random = np.random.default_rng(seed)
    frames = torch.from_numpy(random.integers(0, 256, (2 * count, *source, 3), np.uint8))
    frames = frames[:count] if whole else frames[::2]  # of every second frame: not one block of memory
    down, across = (taps(random, *sizes) for sizes in zip(source, target, strict=True))
    found = resize_crop(frames, down, across, SCALE, SHIFT)
    with monkeypatch.context() as patch:
        patch.setenv(VARIABLE, "reference")
        by_torch = resize_crop(frames, down, across, SCALE, SHIFT)
    torch.testing.assert_close(found, by_torch, atol=1e-6, rtol=0)
    torch.testing.assert_close(found.double(), exact(frames, down, across), atol=1e-5, rtol=0)
    assert found.shape == (count, *target, 3)
