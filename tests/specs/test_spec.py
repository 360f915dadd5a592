"""Sizes of the published networks, the rules of rounding, and the id of a spec."""

from __future__ import annotations

import hashlib
import math
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.specs.spec import AXES, Base, Spec, round_width

X2D = Spec()
XS = Spec(temporal=2, frame_rate=2, spatial=math.sqrt(2), bottleneck=2.25, depth=2.2)
S = replace(XS, temporal=3.25, frame_rate=4)
M = replace(XS, temporal=10 / 3, frame_rate=4.8, spatial=2)
L = replace(M, spatial=312 / 112, depth=5)
XL = replace(L, width=1.45)

WIDTHS, WIDE = (24, 48, 96, 192), (32, 72, 136, 280)
INNER, INNER_XL = (54, 108, 216, 432), (72, 162, 306, 630)
DEPTHS, DEEP = (3, 5, 11, 7), (5, 10, 25, 15)

DEFAULT_JSON = (
    '{"base":{"classes":400,"crop":112,"crop_divisor":8,"depths":[1,2,5,3],"frames":1,"head_width":2048,'
    '"stem_width":24,"stride":24,"width_divisor":8},"bottleneck":1.0,"depth":1.0,"frame_rate":1.0,'
    '"spatial":1.0,"temporal":1.0,"width":1.0}'
)

arithmetic = settings(deadline=None, derandomize=True, max_examples=200)
factors = st.floats(0.1, 20)


@pytest.mark.parametrize(
    ("spec", "clip", "widths", "inner", "depths"),
    [
        (X2D, (1, 24, 112), WIDTHS, WIDTHS, (1, 2, 5, 3)),
        (XS, (4, 12, 160), WIDTHS, INNER, DEPTHS),
        (S, (13, 6, 160), WIDTHS, INNER, DEPTHS),
        (M, (16, 5, 224), WIDTHS, INNER, DEPTHS),
        (L, (16, 5, 312), WIDTHS, INNER, DEEP),
        (XL, (16, 5, 312), WIDE, INNER_XL, DEEP),
    ],
    ids=["X2D", "XS", "S", "M", "L", "XL"],
)
def test_sizes_are_the_published_ones(
    spec: Spec,
    clip: tuple[int, int, int],
    widths: tuple[int, ...],
    inner: tuple[int, ...],
    depths: tuple[int, ...],
) -> None:
    assert (spec.frames, spec.stride, spec.crop) == clip
    assert spec.stem_width == widths[0]
    assert spec.widths == widths
    assert spec.inner_widths == inner
    assert spec.depths == depths
    assert spec.sizes == (*clip, widths[0], widths, inner, depths)


@pytest.mark.parametrize(
    ("spec", "test_size", "largest"), [(XS, 182, 228), (S, 182, 228), (M, 256, 320), (L, 356, 446)]
)
def test_test_size_and_jitter_are_the_published_ones(spec: Spec, test_size: int, largest: int) -> None:
    assert spec.test_size == test_size
    assert spec.jitter == (test_size, largest)


@pytest.mark.parametrize(
    ("width", "rounded"),
    [(24, 24), (34.8, 32), (69.6, 72), (139.2, 136), (278.4, 280), (1, 8), (11.9, 16), (3.375, 8), (27, 32)],
)
def test_widths_round_as_in_the_published_networks(width: float, rounded: int) -> None:
    """To a multiple of 8; 11.9 would go to 8, but that is more than 10 % less; so would 27 to 24."""
    assert round_width(width) == rounded


@arithmetic
@given(width=st.floats(0.01, 5000), divisor=st.integers(1, 32))
def test_a_rounded_width_is_a_near_multiple_never_10_percent_below(width: float, divisor: int) -> None:
    rounded = round_width(width, divisor)
    assert rounded % divisor == 0
    assert rounded >= divisor
    assert rounded >= 0.9 * width
    assert rounded <= max(divisor, width + divisor)


@arithmetic
@given(width=st.floats(0.01, 5000), more=st.floats(0, 100), divisor=st.integers(1, 32))
def test_a_larger_width_never_rounds_to_less(width: float, more: float, divisor: int) -> None:
    assert round_width(width, divisor) <= round_width(width + more, divisor)


@arithmetic
@given(axis=st.sampled_from(AXES), factor=factors, more=st.floats(0, 10))
def test_no_size_shrinks_as_its_factor_grows(axis: str, factor: float, more: float) -> None:
    less, greater = Spec().with_factor(axis, factor), Spec().with_factor(axis, factor + more)
    for name in ("widths", "inner_widths", "depths"):
        pairs = zip(getattr(less, name), getattr(greater, name), strict=True)
        assert all(one <= two for one, two in pairs)
    assert less.frames <= greater.frames
    assert less.crop <= greater.crop
    assert less.stride >= greater.stride


@arithmetic
@given(factor=factors, divisor=st.sampled_from((1, 2, 4, 8)))
def test_widths_are_multiples_of_the_divisor_and_the_stem_is_as_wide_as_the_first_stage(
    factor: float, divisor: int
) -> None:
    spec = Spec(Base(width_divisor=divisor), width=factor)
    assert all(width % divisor == 0 for width in spec.widths)
    assert all(width >= 0.9 * 24 * factor * 2**i for i, width in enumerate(spec.widths))
    assert spec.stem_width == spec.widths[0]


@arithmetic
@given(values=st.tuples(*(factors for _ in AXES)))
def test_every_size_is_at_least_one_and_depths_round_up(values: tuple[float, ...]) -> None:
    spec = Spec(Base(), *values)
    assert min(spec.frames, spec.stride, *spec.inner_widths, *spec.depths) >= 1
    assert spec.crop % spec.base.crop_divisor == 0
    assert spec.crop <= spec.test_size <= spec.jitter[1]
    for blocks, base in zip(spec.depths, spec.base.depths, strict=True):
        assert 0 <= blocks - spec.depth * base + 1e-6 < 1 + 1e-6
    for inner, width in zip(spec.inner_widths, spec.widths, strict=True):
        assert inner == max(1, math.floor(width * spec.bottleneck + 1e-6))


@pytest.mark.parametrize("factor", [2, 3, 4, 6, 8, 12, 24])
def test_frame_rate_keeps_the_duration(factor: int) -> None:
    spec = Spec(frame_rate=factor)
    assert (spec.frames, spec.stride) == (factor, 24 // factor)
    assert spec.duration == Spec().duration == 24


@arithmetic
@given(factor=st.floats(1, 24))
def test_frame_rate_keeps_the_duration_up_to_half_a_frame_and_half_a_stride(factor: float) -> None:
    spec = Spec(frame_rate=factor)
    off = 0.5 * spec.stride + 0.5 * factor + 1e-6
    assert abs(spec.duration - 24) <= off


@arithmetic
@given(factor=st.integers(1, 40), rate=st.sampled_from((1, 2, 3, 4)))
def test_temporal_keeps_the_stride_and_multiplies_the_duration(factor: int, rate: int) -> None:
    spec, longer = Spec(frame_rate=rate), Spec(frame_rate=rate, temporal=factor)
    assert longer.stride == spec.stride
    assert longer.frames == factor * spec.frames
    assert longer.duration == factor * spec.duration


def test_thirteen_frames_come_from_a_fractional_factor() -> None:
    assert Spec(temporal=13 / 4, frame_rate=4).frames == 13
    assert Spec(temporal=0.1 * 30).frames == 3


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("value", [0, -1, math.inf, -math.inf, math.nan, "2", None, True])
def test_a_factor_that_is_no_finite_positive_number_is_refused(axis: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"factor {axis} must be a finite positive number"):
        Spec(**{axis: value})


def test_a_factor_beyond_the_floats_is_refused() -> None:
    with pytest.raises(ValueError, match="factor depth must be a finite positive number"):
        Spec(depth=10**400)


@pytest.mark.parametrize(
    "changes",
    [
        {"frames": 0}, {"stride": -1}, {"crop": 112.0}, {"stem_width": "24"}, {"depths": ()},
        {"depths": (1, 0)}, {"depths": (1, 2.0)}, {"classes": None}, {"width_divisor": 0},
        {"head_width": True},
    ],
)  # fmt: skip
def test_a_base_size_that_is_no_whole_number_from_one_on_is_refused(changes: dict[str, Any]) -> None:
    name = next(iter(changes))
    with pytest.raises(ValueError, match=rf"base\.{name} must be a whole number of at least 1"):
        Base(**changes)


def test_a_spec_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        XS.depth = 3.0  # type: ignore[misc]


@pytest.mark.parametrize("axis", AXES)
def test_with_factor_changes_one_factor_of_a_copy(axis: str) -> None:
    spec = XS.with_factor(axis, 3)
    assert getattr(spec, axis) == 3
    assert all(getattr(spec, other) == getattr(XS, other) for other in AXES if other != axis)
    assert XS.sizes[:3] == (4, 12, 160)


def test_with_factor_refuses_what_is_no_axis() -> None:
    for name in ("base", "widths", "time"):
        with pytest.raises(KeyError, match=name):
            XS.with_factor(name, 2)


def test_with_classes_changes_the_classes_only() -> None:
    spec = XS.with_classes(9)
    assert spec.base == replace(XS.base, classes=9)
    assert spec.sizes == XS.sizes


def test_the_id_is_eight_digits_of_the_sha256_of_the_canonical_json() -> None:
    assert Spec().id == hashlib.sha256(DEFAULT_JSON.encode()).hexdigest()[:8]
    expected = DEFAULT_JSON.replace('"depth":1.0', '"depth":2.2').replace('"classes":400', '"classes":9')
    assert Spec(depth=2.2).with_classes(9).id == hashlib.sha256(expected.encode()).hexdigest()[:8]


def test_the_id_is_the_same_in_another_process() -> None:
    code = "from expander.specs.spec import Spec; print(Spec(depth=2.2, width=1.45).id)"
    command = [sys.executable, "-c", code]
    for seed in ("1", "2"):
        found = subprocess.run(
            command, check=True, capture_output=True, text=True, env={"PYTHONHASHSEED": seed}
        )
        assert found.stdout.strip() == Spec(depth=2.2, width=1.45).id


def test_different_specs_have_different_ids_and_equal_ones_the_same() -> None:
    specs = [X2D, XS, S, M, L, XL, XS.with_classes(9), *(X2D.with_factor(axis, 2) for axis in AXES)]
    assert len({spec.id for spec in specs}) == len(specs)
    assert Spec(depth=2).id == Spec(depth=2.0).id


def test_a_spec_reads_as_its_clip_widths_and_depths() -> None:
    assert str(XL) == "16x5 crop 312 width 32/72/136/280 depth 5/10/25/15"
