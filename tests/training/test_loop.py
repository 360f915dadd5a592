"""The schedule's closed form, the optimiser's groups, and that the loop trains."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from expander.config.settings import Recipe
from expander.data.clips import Batch
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.training.loop import Diverged, restore, snapshot, train, train_step
from expander.training.schedule import WARMUP_START, lr_at, optimizer

arithmetic = settings(deadline=None, derandomize=True, max_examples=100)
progresses = st.floats(0, 1, exclude_max=True)
warmups = st.floats(0, 0.9)
CPU = torch.device("cpu")
TINY = Spec(Base(crop=8, stem_width=4, depths=(1,), head_width=4, classes=3, width_divisor=4))


@arithmetic
@given(progress=progresses, warmup=warmups, lr=st.floats(1e-4, 10))
def test_after_the_warm_up_the_rate_is_half_a_cosine(progress: float, warmup: float, lr: float) -> None:
    recipe = Recipe(lr=lr, warmup=warmup)
    cosine = lr * math.cos(math.pi / 2 * progress) ** 2  # (1 + cos 2x) / 2 = cos(x) ** 2
    if progress >= warmup:
        assert lr_at(progress, recipe) == pytest.approx(cosine, abs=1e-12 * lr)
    else:
        assert lr_at(progress, recipe) <= cosine


@arithmetic
@given(warmup=st.floats(0.01, 0.9))
def test_the_warm_up_is_a_line_from_its_start_to_the_cosine(warmup: float) -> None:
    recipe = Recipe(lr=2.0, warmup=warmup)
    end = lr_at(warmup, recipe)
    assert lr_at(0, recipe) == pytest.approx(WARMUP_START * end)
    assert lr_at(warmup / 2, recipe) == pytest.approx((WARMUP_START * end + end) / 2)
    assert lr_at(math.nextafter(warmup, 0), recipe) == pytest.approx(end)


@pytest.mark.parametrize("warmup", [0.0, 0.1, 0.5])
def test_the_rate_ends_at_zero(warmup: float) -> None:
    recipe = Recipe(warmup=warmup)
    assert lr_at(1.0, recipe) == pytest.approx(0, abs=1e-15)
    assert 0 < lr_at(0.999, recipe) < 1e-5 * recipe.lr


def test_without_warm_up_the_peak_is_the_rate_of_the_recipe() -> None:
    assert lr_at(0, Recipe(lr=0.3, warmup=0)) == 0.3
    assert lr_at(0.5, Recipe(lr=0.3, warmup=0)) == pytest.approx(0.15)


@arithmetic
@given(warmup=warmups, one=progresses, two=progresses)
def test_the_rate_rises_during_the_warm_up_and_falls_after_it(warmup: float, one: float, two: float) -> None:
    recipe, low, high = Recipe(warmup=warmup), min(one, two), max(one, two)
    if high <= warmup:
        assert lr_at(low, recipe) <= lr_at(high, recipe)
    if low >= warmup:
        assert lr_at(low, recipe) >= lr_at(high, recipe)
    assert lr_at(one, recipe) <= recipe.lr


def test_weight_decay_is_for_convolutions_and_linears_only() -> None:
    network = X3D(TINY)
    decayed, free = optimizer(network, Recipe(weight_decay=5e-5)).param_groups
    weights = [m.weight for m in network.modules() if isinstance(m, nn.Conv3d | nn.Linear)]
    assert {id(p) for p in decayed["params"]} == {id(weight) for weight in weights}
    assert decayed["weight_decay"] == 5e-5
    assert free["weight_decay"] == 0
    assert all(parameter.ndim == 1 for parameter in free["params"])


def test_every_parameter_is_optimised_once_and_frozen_ones_never() -> None:
    network = X3D(TINY)
    network.stem.requires_grad_(False)
    groups = optimizer(network, Recipe()).param_groups
    seen = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(seen) == sorted(id(p) for p in network.parameters() if p.requires_grad)
    assert len(seen) < len(list(network.parameters()))


def test_a_scalar_parameter_is_optimised_too() -> None:
    module = nn.Linear(2, 2)
    module.scale = nn.Parameter(torch.tensor(1.0))
    groups = optimizer(module, Recipe()).param_groups
    assert sum(len(group["params"]) for group in groups) == 3


def test_momentum_is_nesterovs_unless_there_is_none() -> None:
    assert optimizer(X3D(TINY), Recipe(momentum=0.9)).defaults["nesterov"]
    assert not optimizer(X3D(TINY), Recipe(momentum=0)).defaults["nesterov"]


class Line(nn.Module):
    """Logits (w x, 0) of clips (N, 1): logistic regression, whose gradient is known."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))

    def forward(self, x_N1: torch.Tensor) -> torch.Tensor:
        return torch.cat([x_N1 @ self.weight, torch.zeros_like(x_N1)], 1)


def test_a_step_returns_the_loss_before_it_and_descends() -> None:
    """At w = 0 both classes have 1/2: loss log 2, gradient -x / 2, so w becomes lr x / 2."""
    network = Line()
    sgd = optimizer(network, Recipe(lr=0.5, momentum=0, weight_decay=0))
    loss = train_step(network, sgd, torch.tensor([[3.0]]), torch.tensor([0]))
    assert loss.item() == pytest.approx(math.log(2))
    assert network.weight.item() == pytest.approx(0.5 * 3 / 2)
    assert not loss.requires_grad


def batches(count: int, value: float = 1.0) -> Iterator[Batch]:
    for _ in range(count):
        yield Batch(torch.full((2, 1), value), torch.tensor([0, 0]), ())


def test_training_follows_the_schedule_by_hand() -> None:
    """Plain descent on one weight: w += lr (1 - sigmoid(w)), loss log(1 + exp(-w))."""
    recipe = Recipe(steps=30, batch=2, lr=0.5, warmup=0.2, momentum=0, weight_decay=0)
    network, logged = Line(), []
    sgd = optimizer(network, recipe)
    last = train(network, sgd, batches(30), recipe, CPU, lambda *row: logged.append(row))
    weight, losses = 0.0, []
    for step in range(30):
        losses.append(math.log1p(math.exp(-weight)))
        weight += lr_at(step / 30, recipe) * (1 - 1 / (1 + math.exp(-weight)))
    assert network.weight.item() == pytest.approx(weight, rel=1e-5)
    assert [row[0] for row in logged] == list(range(1, 31))
    assert [row[1] for row in logged] == pytest.approx(losses, rel=1e-5)
    assert [row[2] for row in logged] == [lr_at(step / 30, recipe) for step in range(30)]
    assert last == logged[-1][1]


def test_the_log_is_the_mean_since_the_last_one_and_ends_with_the_last_step() -> None:
    recipe = Recipe(steps=50, batch=2, lr=1e-9, warmup=0, momentum=0)
    logged: list[tuple[int, float, float]] = []
    line = Line()
    train(line, optimizer(line, recipe), batches(50), recipe, CPU, lambda *row: logged.append(row))
    assert [row[0] for row in logged] == list(range(2, 51, 2))
    assert [row[1] for row in logged] == pytest.approx([math.log(2)] * 25, rel=1e-5)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_no_number_ends_the_training(value: float) -> None:
    recipe = Recipe(steps=5, batch=2)
    line = Line()
    with pytest.raises(Diverged, match=r"the loss is nan at step 1; a lower learning rate may help"):
        train(line, optimizer(line, recipe), batches(5, value), recipe, CPU, lambda *_: None)


def test_a_real_network_learns_what_it_is_shown() -> None:
    torch.manual_seed(0)
    recipe = Recipe(steps=30, batch=6, lr=0.5)
    clips = torch.randn(6, 3, 1, 8, 8)
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    network = X3D(replace(TINY, base=replace(TINY.base, head_width=64)), dropout=0.0)
    shown = [Batch(clips, labels, ())] * 30
    loss = train(network, optimizer(network, recipe), shown, recipe, CPU, lambda *_: None)
    assert network.training
    assert loss < 0.5 * math.log(3)


def test_a_training_that_goes_on_from_a_snapshot_ends_bit_for_bit_as_if_it_had_not_stopped() -> None:
    recipe = Recipe(steps=20, batch=4, lr=0.2, dropout=0.5)
    generator = torch.Generator().manual_seed(1)
    shown = [
        Batch(torch.randn(4, 3, 1, 8, 8, generator=generator), torch.tensor([0, 1, 2, 0]), ())
        for _ in range(20)
    ]

    def begun() -> tuple[X3D, torch.optim.SGD]:
        torch.manual_seed(0)
        network = X3D(TINY, recipe.dropout)
        return network, optimizer(network, recipe)

    whole, sgd = begun()
    loss = train(whole, sgd, shown, recipe, CPU, lambda *_: None)
    half, sgd = begun()
    train(half, sgd, shown[:7], recipe, CPU, lambda *_: None)
    kept = snapshot(half, sgd)
    resumed, sgd = begun()
    torch.manual_seed(99)
    restore(resumed, sgd, kept)
    assert train(resumed, sgd, shown[7:], recipe, CPU, lambda *_: None, begin=7) == loss
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
