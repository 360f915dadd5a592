"""The candidates of a step: the published path, solved steps against brute force, rejections."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from expander.config.space import AxisRule, SearchSpace, load_space
from expander.runs.events import Candidate, SourceLimits
from expander.search.expansion import LEAST_MOVE, expand, largest, largest_within, tidy
from expander.specs.cost import cost
from expander.specs.spec import AXES, Base, Spec

ENDLESS = SourceLimits(frames=10_000, short_side=10_000)
SMALL = Base(
    frames=2, stride=8, crop=32, stem_width=8, depths=(1, 2), head_width=32, classes=5,
    width_divisor=2, crop_divisor=4,
)  # fmt: skip

arithmetic = settings(
    deadline=None, derandomize=True, max_examples=60, suppress_health_check=[HealthCheck.too_slow]
)


def solving(limit: float = 100.0, base: Base = SMALL, step_factor: float = 2.0) -> SearchSpace:
    return SearchSpace({axis: AxisRule("solve", limit) for axis in AXES}, base, step_factor)


def only(space: SearchSpace, axis: str, now: Spec, limits: SourceLimits = ENDLESS) -> Candidate | str:
    """The candidate of one axis, or why there is none."""
    candidates, rejected = expand(replace(space, axes={axis: space.axes[axis]}), now, cost, limits)
    assert len(candidates) + len(rejected) == 1
    return candidates[0] if candidates else rejected[0].reason


def test_published_factors_lead_from_x2d_to_xs_and_on() -> None:
    """The costs of the path in millions, as the paper's factors give them."""
    path = {
        "bottleneck": 41.00,
        "frame_rate": 80.21,
        "spatial": 153.40,
        "temporal": 305.02,
        "depth": 605.26,
    }
    space = load_space("x3d")
    now = space.start
    assert round(cost(now).macs / 1e6, 2) == 20.66
    for axis, millions in path.items():
        step = only(space, axis, now)
        assert isinstance(step, Candidate)
        assert round(step.cost.macs / 1e6, 2) == millions
        now = step.spec
    assert cost(now).macs == 605_256_512
    assert (now.frames, now.stride, now.crop) == (4, 12, 160)
    assert now.depths == (3, 5, 11, 7)
    for axis, millions, clip in (("frame_rate", 1208.65, (8, 6)), ("temporal", 2415.44, (16, 6))):
        step = only(space, axis, now)
        assert isinstance(step, Candidate)
        assert round(step.cost.macs / 1e6, 2) == millions
        assert (step.spec.frames, step.spec.stride) == clip
        now = step.spec


@pytest.mark.parametrize(
    ("axis", "ratio"), [("temporal", 1.94), ("frame_rate", 1.94), ("spatial", 1.88), ("width", 1.84),
                        ("bottleneck", 1.98), ("depth", 1.85)],
)  # fmt: skip
def test_each_published_factor_about_doubles_the_cost_of_x2d(axis: str, ratio: float) -> None:
    space = load_space("x3d")
    step = only(space, axis, space.start)
    assert isinstance(step, Candidate)
    assert round(step.ratio, 2) == ratio


def test_a_step_has_one_candidate_per_axis_in_the_order_of_the_axes() -> None:
    space = load_space("x3d")
    backwards = replace(space, axes=dict(reversed(space.axes.items())))
    candidates, rejected = expand(backwards, space.start, cost, ENDLESS)
    assert [candidate.axis for candidate in candidates] == list(AXES)
    assert rejected == ()
    assert (candidates, rejected) == expand(space, space.start, cost, ENDLESS)


def test_an_axis_that_the_space_leaves_out_is_never_a_candidate() -> None:
    space = replace(load_space("x3d"), axes={"depth": AxisRule(2.2, 11)})
    candidates, rejected = expand(space, space.start, cost, ENDLESS)
    assert [candidate.axis for candidate in candidates] == ["depth"]
    assert rejected == ()


@arithmetic
@given(
    now=st.builds(
        Spec,
        st.just(SMALL),
        *(st.floats(1, 3) for _ in AXES),
    ),
    factor=st.floats(1.3, 4),
)
def test_a_candidate_differs_on_its_axis_only_and_carries_its_own_cost(now: Spec, factor: float) -> None:
    candidates, rejected = expand(solving(step_factor=factor), now, cost, ENDLESS)
    assert sorted([c.axis for c in candidates] + [r.axis for r in rejected]) == sorted(AXES)
    for candidate in candidates:
        changed = [axis for axis in AXES if getattr(candidate.spec, axis) != getattr(now, axis)]
        assert changed == [candidate.axis]
        assert candidate.cost == cost(candidate.spec)
        assert candidate.ratio == candidate.cost.macs / cost(now).macs
        assert candidate.ratio >= factor**LEAST_MOVE


@settings(arithmetic, max_examples=30)
@given(
    axis=st.sampled_from(AXES),
    now=st.builds(Spec, st.just(SMALL), *(st.floats(1, 2) for _ in AXES)),
    factor=st.floats(1.3, 3),
)
def test_solve_comes_as_near_to_the_step_factor_as_any_can(axis: str, now: Spec, factor: float) -> None:
    """Against 1,000 factors tried one by one."""
    space = solving(limit=20, step_factor=factor)
    step = only(space, axis, now)
    current = cost(now).macs
    low = getattr(now, axis)
    tried = (now.with_factor(axis, low * (20 / low) ** (i / 1000)) for i in range(1001))
    best = min(abs(math.log(cost(spec).macs / current / factor)) for spec in tried)
    if isinstance(step, str):
        # Standing still, or nearly, was the nearest that the rounding permits.
        assert best >= (1 - LEAST_MOVE) * math.log(factor) - 1e-9
    else:
        assert abs(math.log(step.ratio / factor)) <= best + 1e-9


@arithmetic
@given(
    axis=st.sampled_from(AXES),
    now=st.builds(Spec, st.just(SMALL), *(st.floats(1, 3) for _ in AXES)),
    share=st.floats(0, 1.2),
)
def test_largest_within_brackets_the_jump_over_the_budget(axis: str, now: Spec, share: float) -> None:
    low, high = 1.0, 8.0
    least, most = (cost(now.with_factor(axis, factor)).macs for factor in (low, high))
    budget = least + share * (most - least)
    below, above = largest_within(now, axis, low, high, budget, cost)
    assert low <= below <= above <= high
    assert cost(now.with_factor(axis, below)).macs <= budget
    if above > below:
        assert cost(now.with_factor(axis, above)).macs > budget
        assert above - below <= 1e-5
    else:
        assert below == high


@arithmetic
@given(axis=st.sampled_from(AXES), now=st.builds(Spec, st.just(SMALL), *(st.floats(1, 3) for _ in AXES)),
       factor=st.floats(1, 9))  # fmt: skip
def test_tidy_keeps_the_cost(axis: str, now: Spec, factor: float) -> None:
    assert cost(tidy(now, axis, factor)) == cost(now.with_factor(axis, factor))


def test_tidy_gives_whole_frames_and_crops_and_few_decimals() -> None:
    base = Base()
    assert tidy(Spec(base), "temporal", 2.7).temporal == 3
    assert tidy(Spec(base), "spatial", 1.4142135).spatial == 160 / 112
    assert tidy(Spec(base), "bottleneck", 2.2500001).bottleneck == 2.25
    assert tidy(Spec(base), "depth", 2.17).depth == 2.2


def test_a_factor_over_the_limit_is_rejected() -> None:
    space = replace(load_space("x3d"), axes={"depth": AxisRule(2.2, 2.1)})
    assert only(space, "depth", space.start) == "factor 2.2 is over the axis's limit 2.1"


def test_the_limit_itself_is_allowed_and_a_solved_step_never_passes_it() -> None:
    space = replace(load_space("x3d"), axes={"depth": AxisRule(2.2, 2.2)})
    assert isinstance(only(space, "depth", space.start), Candidate)
    for axis in AXES:
        step = only(solving(limit=1.5), axis, Spec(SMALL))
        assert isinstance(step, str) or getattr(step.spec, axis) <= 1.5


def test_a_clip_longer_than_the_videos_is_rejected() -> None:
    space = load_space("x3d")
    limits = SourceLimits(frames=47, short_side=10_000)
    reason = only(space, "temporal", space.start, limits)
    assert reason == "clip of 48 source frames, the videos have 47"
    assert isinstance(only(space, "temporal", space.start, SourceLimits(48, 10_000)), Candidate)
    assert isinstance(only(space, "frame_rate", space.start, limits), Candidate)


def test_a_crop_larger_than_the_videos_is_rejected() -> None:
    space = load_space("x3d")
    reason = only(space, "spatial", space.start, SourceLimits(10_000, 159))
    assert reason == "crop 160, the short side of the videos is 159"
    assert isinstance(only(space, "spatial", space.start, SourceLimits(10_000, 160)), Candidate)


def test_a_base_beyond_the_videos_can_still_grow_on_other_axes() -> None:
    candidates, rejected = expand(load_space("x3d"), Spec(), cost, SourceLimits(10, 64))
    assert [r.axis for r in rejected] == ["temporal", "spatial"]
    assert [c.axis for c in candidates] == ["frame_rate", "width", "bottleneck", "depth"]


def test_a_step_that_rounding_swallows_is_rejected() -> None:
    space = replace(load_space("x3d"), axes={"width": AxisRule(1.01, 5)})
    assert only(space, "width", space.start) == "rounding changes nothing"


def test_a_step_that_hardly_moves_the_cost_is_rejected() -> None:
    """Of 10 blocks to 11: the cost grows by less than a quarter of a doubling."""
    base = replace(SMALL, depths=(10,))
    space = SearchSpace({"depth": AxisRule("solve", 1.1)}, base)
    reason = only(space, "depth", space.start)
    ratio = cost(Spec(base, depth=1.1)).macs / cost(Spec(base)).macs
    assert 1 < ratio < 2**0.25
    assert reason == f"would move the cost only x{ratio:.3f}"


def test_no_axis_can_move_where_all_are_at_their_limits() -> None:
    candidates, rejected = expand(solving(limit=1), Spec(SMALL), cost, ENDLESS)
    assert candidates == ()
    assert [rejection.axis for rejection in rejected] == list(AXES)


@arithmetic
@given(
    frames=st.integers(20, 200),
    short_side=st.integers(32, 100),
    path=st.lists(st.sampled_from(AXES), max_size=10),
    steps=st.fixed_dictionaries({axis: st.sampled_from((1.5, 2.0, 3.0)) for axis in AXES}),
)
def test_no_search_of_a_space_costs_more_than_its_largest_spec(
    frames: int, short_side: int, path: list[str], steps: dict[str, float]
) -> None:
    space = SearchSpace({axis: AxisRule(step, 6) for axis, step in steps.items()}, SMALL)
    limits = SourceLimits(frames, short_side)
    most, now = largest(space, limits), space.start
    for axis in path:
        step = only(space, axis, now, limits)
        now = now if isinstance(step, str) else step.spec
    assert cost(now).macs <= cost(most).macs


def test_the_largest_spec_counts_the_frames_that_a_rounded_stride_lets_in() -> None:
    """Ten times the rate of a stride of 24 is one of 2, so 30 frames and not 25 span 60 source frames."""
    space = SearchSpace({"frame_rate": AxisRule(10, 10), "temporal": AxisRule(3, 8)}, Base())
    limits = SourceLimits(frames=60, short_side=112)
    faster = only(space, "frame_rate", space.start, limits)
    assert isinstance(faster, Candidate)
    longer = only(space, "temporal", faster.spec, limits)
    assert isinstance(longer, Candidate)
    assert (longer.spec.frames, longer.spec.duration) == (30, 60)
    assert longer.cost.macs <= cost(largest(space, limits)).macs


@arithmetic
@given(frames=st.integers(16, 200), short_side=st.integers(32, 100))
def test_the_largest_spec_fits_the_videos(frames: int, short_side: int) -> None:
    spec = largest(solving(limit=6), SourceLimits(frames, short_side))
    assert spec.crop <= short_side
    assert (spec.frames - 1) * spec.stride + 1 <= frames
