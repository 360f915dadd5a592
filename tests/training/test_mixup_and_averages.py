"""Mixup, label smoothing, averaged weights, precise and synced batch norm, against closed forms."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.functional import cross_entropy

from expander.config.settings import TrainRecipe
from expander.data.clips import Batch
from expander.errors import out_of_memory
from expander.model.network import X3D
from expander.model.sync_bn import SyncedBatchNorm, synced
from expander.profiling.memory import memory_remedy
from expander.specs.spec import Base, Spec
from expander.training.averaging import WeightAverage, measure_statistics
from expander.training.distributed import Workers
from expander.training.schedule import optimizer
from expander.training.step import FullStep, mixed, mixed_loss

TINY = Spec(Base(crop=8, stem_width=4, depths=(1,), head_width=4, classes=3, width_divisor=4))


def test_mixup_is_a_convex_combination_of_each_clip_and_its_partner() -> None:
    clips = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 3, 2, 2, 2)
    out, share = mixed(clips, 0.5, np.random.default_rng(0))
    assert 0 < share < 1
    for n in range(4):
        assert torch.allclose(out[n], torch.full((3, 2, 2, 2), share * n + (1 - share) * (3 - n)))
    same, whole = mixed(clips, 0.0, np.random.default_rng(0))
    assert whole == 1
    assert torch.equal(same, clips)


def test_the_mixed_loss_is_the_mean_of_both_labels_weighted_by_their_shares() -> None:
    logits, labels = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    right = -torch.log_softmax(logits, 1)[:, 0].mean()
    assert mixed_loss(logits, labels, 0.7, 0.0) == pytest.approx(float(right))
    labels = torch.tensor([0, 1])
    own, other = (float(cross_entropy(logits, wanted)) for wanted in (labels, labels.flip(0)))
    assert mixed_loss(logits, labels, 0.7, 0.0) == pytest.approx(0.7 * own + 0.3 * other)


def test_label_smoothing_of_uniform_scores_is_log_of_the_classes() -> None:
    loss = mixed_loss(torch.zeros(2, 5), torch.tensor([0, 3]), 1.0, 0.2)
    assert loss == pytest.approx(math.log(5))
    # Smoothed by s over K classes: the label counts 1 - s + s / K, every other class s / K.
    logits = torch.tensor([[3.0, 0.0]])
    right, wrong = (-torch.log_softmax(logits, 1)[0]).tolist()
    smooth = mixed_loss(logits, torch.tensor([0]), 1.0, 0.2)
    assert smooth == pytest.approx(0.9 * right + 0.1 * wrong)


def test_the_average_follows_its_recurrence_and_starts_quickly() -> None:
    network = X3D(TINY)
    average = WeightAverage(network, 0.5)
    expected = network.head.fc1.weight.detach().clone()
    for step in range(1, 30):
        with torch.no_grad():
            network.head.fc1.weight += 1
        average.update(network, step)
        decay = min(0.5, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * network.head.fc1.weight.detach()
    assert torch.allclose(average.network.head.fc1.weight, expected, rtol=1e-5)
    # A ramp of slope 1 is followed at a distance of decay / (1 - decay) = 1.
    behind = network.head.fc1.weight - average.network.head.fc1.weight
    assert torch.allclose(behind, torch.ones_like(behind), atol=1e-4)


def test_precise_statistics_are_the_mean_over_batches_and_keep_the_momentum() -> None:
    norm = nn.BatchNorm3d(3)
    norm.running_mean.fill_(99)
    clips = [torch.randn(4, 3, 2, 5, 5) * (n + 1) + n for n in range(3)]
    batches = [Batch(each, torch.zeros(4), ()) for each in clips]
    measure_statistics(norm, batches, Workers(device=torch.device("cpu")))
    means = torch.stack([each.mean((0, 2, 3, 4)) for each in clips]).mean(0)
    variances = torch.stack([each.transpose(0, 1).flatten(1).var(1) for each in clips]).mean(0)
    assert torch.allclose(norm.running_mean, means, atol=1e-5)
    assert torch.allclose(norm.running_var, variances, rtol=1e-5)
    assert norm.momentum == 0.1


def test_synced_batch_norm_of_one_process_is_batch_norm(tmp_path: Path) -> None:
    store = dist.FileStore(str(tmp_path / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        plain, shared = nn.BatchNorm3d(3), SyncedBatchNorm(3)
        clips = torch.randn(4, 3, 2, 5, 5) * 3 + 1
        inputs = [clips.clone().requires_grad_(), clips.clone().requires_grad_()]
        for norm, given in zip((plain, shared), inputs, strict=True):
            norm(given).square().mul(given.detach()).sum().backward()
        assert torch.allclose(inputs[0].grad, inputs[1].grad, rtol=1e-3, atol=1e-4)
        for name, value in plain.state_dict().items():
            assert torch.allclose(value, shared.state_dict()[name], rtol=1e-4), name
    finally:
        dist.destroy_process_group()


def test_a_synced_network_has_the_same_names_and_values() -> None:
    network = X3D(TINY)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    synced(network)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm3d)]
    assert all(isinstance(norm, SyncedBatchNorm) for norm in norms)
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)


def step_of(recipe: TrainRecipe, seed: int = 0, done: int = 0) -> dict[str, torch.Tensor]:
    """The gradients of one full step on fixed clips."""
    torch.manual_seed(0)
    network = X3D(TINY, recipe.dropout)
    nn.init.normal_(network.head.fc2.weight)
    sgd = optimizer(network, recipe.loop(10, False))
    clips, labels = torch.randn(8, 3, 1, 8, 8), torch.arange(8) % 3
    FullStep(network.train(), recipe, seed, Workers(device=torch.device("cpu")), None, done)(
        network, sgd, clips, labels
    )
    return {name: p.grad for name, p in network.named_parameters() if p.grad is not None}


def norm_of(gradients: dict[str, torch.Tensor]) -> float:
    return float(torch.cat([grad.flatten() for grad in gradients.values()]).norm())


def test_gradients_are_clipped_to_the_norm_that_is_allowed_and_not_turned() -> None:
    free = step_of(TrainRecipe(batch=8))
    largest = norm_of(free) / 4
    clipped = step_of(TrainRecipe(batch=8, clip_norm=largest))
    assert norm_of(clipped) == pytest.approx(largest, rel=1e-4)
    for name, grad in free.items():
        assert torch.allclose(clipped[name], grad / 4, rtol=1e-3, atol=1e-7)


def test_chance_depends_on_seed_and_step_only() -> None:
    recipe = TrainRecipe(batch=8, dropout=0.5, mixup=0.4)
    torch.manual_seed(99)
    first, again = step_of(recipe), step_of(recipe)
    assert all(torch.equal(first[name], again[name]) for name in first)
    for other in (step_of(recipe, seed=1), step_of(recipe, done=1)):
        assert not all(torch.equal(first[name], other[name]) for name in first)


def test_lower_precision_gives_nearly_the_same_gradient() -> None:
    exact, lower = step_of(TrainRecipe(batch=8)), step_of(TrainRecipe(batch=8, precision="bfloat16"))
    apart = math.sqrt(sum(float((exact[name] - lower[name]).square().sum()) for name in exact))
    assert 0 < apart < 0.1 * norm_of(exact)


def test_memory_that_does_not_suffice_is_told_with_a_batch_that_can_be_shared() -> None:
    text = memory_remedy(batch=96, accumulate=1, workers=2)
    assert "48 clips at a time" in text
    assert "train.accumulate=2" in text
    assert "--batch 48" in text
    assert "train.accumulate=9 " in memory_remedy(batch=27, accumulate=3, workers=1)
    assert "smaller spec" in memory_remedy(batch=4, accumulate=2, workers=2)
    assert out_of_memory(MemoryError())
    assert out_of_memory(RuntimeError("CUDA out of memory. Tried to allocate 2 GiB"))
    assert not out_of_memory(RuntimeError("shape mismatch"))
