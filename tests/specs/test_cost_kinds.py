"""Any cost may be the one that doubles, the others limits; what is measured is measured once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from conftest import ASSETS
from conftest import Run as Call
from searches import SMALL, chosen, ending, formula, problem, search

from expander.config.ceilings import Ceilings
from expander.config.settings import Recipe
from expander.config.space import AxisRule, SearchSpace
from expander.profiling.latency import MeasuredCosts, Measurement, _most_alive, cost_function, measure
from expander.runs.events import StepPlanned
from expander.search.controller import ask, replay, tell
from expander.search.expansion import expand, over
from expander.specs.cost import cost
from expander.specs.cost_kinds import Cost, CostKind, amount_text
from expander.specs.spec import AXES, Spec

SOLVED = SearchSpace({axis: AxisRule("solve", 16) for axis in AXES}, SMALL)


@pytest.mark.parametrize("kind", ["params", "activations"])
def test_a_search_doubles_the_cost_it_is_told_to(kind: CostKind) -> None:
    """Depths and widths come whole, so the nearest to twice the cost may be some way off it."""
    start = cost(SOLVED.start).of(kind)
    given = replace(problem(space=SOLVED), cost=kind, target=5 * start)
    events = search(given)
    for event in events:
        if isinstance(event, StepPlanned) and event.kind == "expansion":
            assert all(1.6 < candidate.ratio < 2.5 for candidate in event.candidates)
    final = replay(events).path[-1]
    assert 0.9 * 5 * start <= final.cost.of(kind) <= 5 * start
    assert ending(events).outcome == "target"


def test_axes_that_do_not_move_the_chosen_cost_are_rejected() -> None:
    """Frames and pixels need no parameters."""
    given = replace(problem(space=SOLVED), cost="params", target=1e6)
    candidates, rejected = expand(SOLVED, SOLVED.start, cost, given.limits, "params")
    assert [c.axis for c in candidates] == ["width", "bottleneck", "depth"]
    assert {r.axis for r in rejected} == {"temporal", "frame_rate", "spatial"}


def test_a_candidate_over_a_limit_is_rejected_with_the_reason_and_never_trained() -> None:
    """The base has 3,892 parameters; width, bottleneck and depth add to them."""
    given = replace(problem(), ceilings=Ceilings(params=4000))
    events = search(given)
    assert set(chosen(events)) <= {"base", "temporal", "frame_rate", "spatial"}
    planned = next(event for event in events if isinstance(event, StepPlanned) and event.step == 1)
    assert {r.axis for r in planned.rejected} == {"width", "bottleneck", "depth"}
    assert all(r.reason.endswith("the limit is 4,000 parameters") for r in planned.rejected)


def test_the_first_limit_exceeded_is_told_in_its_unit() -> None:
    price = Cost(2_000_000_000, 3_000_000, 10, 30.0, 64.5)
    assert over(price, Ceilings(flops=2e9, params=3e6, latency=30, memory=65)) == ""
    assert over(price, Ceilings(latency=29.5)) == "latency: 30 ms, the limit is 29.5 ms"
    expected = "flops: 2.000 G multiply-adds, the limit is 1.000 G multiply-adds"
    assert over(price, Ceilings(flops=1e9, memory=1)) == expected


@pytest.mark.parametrize("most", [0, -1, float("nan"), float("inf")])
def test_a_limit_that_is_no_positive_number_is_refused(most: float) -> None:
    with pytest.raises(ValueError, match="the limit of latency must be a positive number"):
        Ceilings(latency=most)


def test_a_cost_that_was_not_measured_is_not_taken_for_zero() -> None:
    with pytest.raises(ValueError, match="memory was not measured"):
        cost(Spec()).of("memory")


def test_amounts_are_told_in_their_unit() -> None:
    assert amount_text("flops", 605_256_512) == "605.3 M multiply-adds"
    assert amount_text("params", 8240) == "8,240 parameters"
    assert amount_text("latency", 12.345) == "12.35 ms"


class Clock:
    """Measures a latency in proportion to the multiply-adds; every later reading is 1 % longer."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, spec: Spec, threads: int) -> Measurement:
        self.calls += 1
        return Measurement(cost(spec).macs / 1e5 * 1.01**self.calls, 0.1, 2.0 * threads)


def test_a_spec_is_measured_once_whatever_its_factors(tmp_path: Path) -> None:
    clock = Clock()
    price = MeasuredCosts(tmp_path / "measured.jsonl", 1, clock)
    first = price(Spec(SMALL, temporal=2.0))
    assert price(Spec(SMALL, temporal=2.0001)) == first
    assert price(Spec(SMALL, temporal=3.0)) != first
    assert clock.calls == 2
    assert first.memory_mb == 2.0


def test_what_was_measured_is_read_by_the_next_process_but_not_for_another_device(tmp_path: Path) -> None:
    file, clock = tmp_path / "measured.jsonl", Clock()
    first = MeasuredCosts(file, 1, clock)(SOLVED.start)
    with file.open("a") as torn:
        torn.write('{"key": "x", "laten')
    assert MeasuredCosts(file, 1, clock)(SOLVED.start) == first
    assert clock.calls == 1
    assert MeasuredCosts(file, 2, clock)(SOLVED.start) != first
    assert MeasuredCosts(file, 1, clock)(SOLVED.start) == first
    assert clock.calls == 2


@pytest.mark.parametrize("damage", [b"", b"nonsense\n", b"\xff\xfe\n", b'{"key": "x"}\n', b'[{"key":1}]\n',
                                    b'{"key": "x", "latency_ms": -1, "spread_ms": 0, "memory_mb": 1}\n'])
def test_what_is_no_measurement_is_told_and_measured_again(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    file, clock = tmp_path / "measured.jsonl", Clock()
    file.write_bytes(damage)
    first = MeasuredCosts(file, 1, clock)(SOLVED.start)
    assert len(caplog.records) == bool(damage)
    assert all(f"{file}" in record.getMessage() for record in caplog.records)
    assert MeasuredCosts(file, 1, clock)(SOLVED.start) == first
    assert clock.calls == 1
    assert len(caplog.records) == bool(damage)


def test_measurements_before_a_flipped_bit_stand_and_those_after_are_measured_again(tmp_path: Path) -> None:
    file, clock = tmp_path / "measured.jsonl", Clock()
    specs = [Spec(SMALL, temporal=frames) for frames in (1.0, 2.0, 3.0)]
    before = [MeasuredCosts(file, 1, clock)(spec) for spec in specs]
    content = bytearray(file.read_bytes())
    content[content.index(b"\n") + 40] ^= 1
    file.write_bytes(content)
    again = MeasuredCosts(file, 1, clock)
    assert again(specs[0]) == before[0]
    assert clock.calls == 3
    assert again(specs[1]) != before[1]
    assert clock.calls == 4


def test_on_a_full_disk_measurements_are_used_and_not_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    clock = Clock()
    price = MeasuredCosts(tmp_path / "file" / "measured.jsonl", 1, clock)
    assert price(SOLVED.start) == price(SOLVED.start)
    price(Spec(SMALL, temporal=2.0))
    assert clock.calls == 2
    assert [record.getMessage().endswith("not kept") for record in caplog.records] == [True]


def test_a_resumed_search_by_latency_decides_as_the_one_that_was_not_stopped(tmp_path: Path) -> None:
    """The clock of the second process reads otherwise; what was measured before the stop stands."""
    space = replace(SOLVED, proxy=Recipe(steps=4))
    whole, cut = MeasuredCosts(tmp_path / "a", 1, Clock()), MeasuredCosts(tmp_path / "b", 1, Clock())
    given = replace(problem(space=space), cost="latency", target=6 * whole(space.start).of("latency"))
    cut(space.start)

    def go(price: MeasuredCosts, until: int) -> Iterator[object]:
        state = replay([])
        for _ in range(until):
            step = ask(given, state, price)
            yield step
            for trial in step if isinstance(step, tuple) else ():
                from expander.runs.events import TrialFinished

                state = tell(state, TrialFinished(trial.step, formula(trial)))  # type: ignore[arg-type]
            if not isinstance(step, tuple):
                state = tell(state, step)
            if state.finished:
                return

    expected = list(go(whole, 50))
    list(go(cut, 5))
    again = MeasuredCosts(tmp_path / "b", 1, Clock())
    assert list(go(again, 5)) == expected[:5]


def test_only_measured_kinds_are_measured(tmp_path: Path) -> None:
    spec = problem().space.start
    for computed in (problem(), replace(problem(), ceilings=Ceilings(params=1e9))):
        found = cost_function(computed, tmp_path, 1)
        assert not isinstance(found, MeasuredCosts)
        assert found(spec) == cost(spec)
    assert cost_function(replace(problem(), task="detection"), tmp_path, 1)(spec) == cost(spec, boxes=1)
    assert isinstance(cost_function(replace(problem(), cost="latency"), tmp_path, 1), MeasuredCosts)
    assert isinstance(
        cost_function(replace(problem(), ceilings=Ceilings(memory=9)), tmp_path, 1), MeasuredCosts
    )


def test_memory_is_that_of_the_tensors_alive_at_the_same_time() -> None:
    """Four tensors of 4,000 bytes are made, no more than two of them live together."""

    def run() -> float:
        kept = torch.zeros(1000)
        for _ in range(3):
            kept = kept + 1
        return float(kept[0])

    assert 8000 <= _most_alive(run) < 8100


def test_a_network_holds_at_least_its_weights_and_takes_time() -> None:
    wide = Spec(SMALL, width=8.0)
    found = measure(wide, 1)
    assert found.memory_mb > 4 * cost(wide).params / 1e6
    assert found.latency_ms > 0
    assert found.spread_ms >= 0


MICRO = ("search", "--space", str(ASSETS / "micro.yaml"), "--backend", "inline")


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        (["--target", "3"], 2, "--target goes with another --cost"),
        (["--cost", "params"], 2, "--target is missing"),
        (["--cost", "params", "--target-gflops", "1"], 2, "--target-gflops is for --cost flops"),
        (["--cost", "latency", "--target", "-1"], 2, "--target must be a positive number"),
        (["--target-gflops", "0.0004", "--max-params", "0"], 2, "--max-params must be a positive number"),
        (["--target-gflops", "0.0004", "--max-params", "5"], 5, "over a limit already: params"),
        (["--cost", "params", "--target", "5"], 5, "the space reaches from"),
        (["--target-gflops", "0.0004", "--max-latency-ms", "1e-6"], 5, "over a limit already: latency"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_before_training(
    expander: Call, options: list[str], code: int, words: str
) -> None:
    done = expander(*MICRO, *options)
    assert done.returncode == code, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_search_by_latency_with_a_limit_on_parameters(
    expander: Call, micro: list[str], tmp_path: Path
) -> None:
    at = micro.index("--target-gflops")
    rest = [*micro[:at], *micro[at + 2 :]]
    by_latency = ["--cost", "latency", "--target", "1000", "--max-params", "1e6", "--max-steps", "1"]
    done = expander(*rest, *by_latency, "--run", "l", "--backend", "inline")
    assert done.returncode == 0, done.stderr
    assert " ms" in done.stdout
    assert (tmp_path / "runs" / "l" / "measured.jsonl").read_text().count("\n") >= 2
    assert "target 1000 ms" in expander("status", "l").stdout
