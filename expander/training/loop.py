"""The training loop, of proxies and of full trainings: fixed steps, the learning rate set at each."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from expander.config.settings import Recipe
from expander.data.clips import Batch
from expander.training.graphs import Gradients
from expander.training.schedule import lr_at


class Diverged(Exception):
    """The loss became NaN or infinite."""


def label_loss(logits_NK: Tensor, labels: Tensor, smoothing: float = 0.0) -> Tensor:
    """Mean loss of clips: cross-entropy with class numbers (N,); with ones and zeros (N, K), of clips with
    several labels, binary cross-entropy over clips and classes. smoothing: share of each target that is even.
    """
    if labels.dim() == 1:
        return cross_entropy(logits_NK, labels, label_smoothing=smoothing)
    targets = labels * (1 - smoothing) + smoothing / 2 if smoothing else labels
    return binary_cross_entropy_with_logits(logits_NK, targets)


def train_step(network: nn.Module, sgd: torch.optim.SGD, clips: Tensor, labels: Tensor) -> Tensor:
    """One step on the clips and labels of a `Batch`; the loss before it, still on the device."""
    loss = label_loss(network(clips), labels)
    sgd.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    sgd.step()
    return loss.detach()


Step = Callable[[nn.Module, torch.optim.SGD, Tensor, Tensor], Tensor]
"""One optimiser step, as `train_step` is."""


class GpuStep:
    """`train_step` on a GPU, in bfloat16 where that is safe, replayed as a CUDA graph."""

    def __init__(self) -> None:
        self.lower = torch.cuda.is_bf16_supported()
        self.gradients: Gradients | None = None

    def __call__(self, network: nn.Module, sgd: torch.optim.SGD, clips: Tensor, labels: Tensor) -> Tensor:
        """As `train_step`, always with the same network and optimiser."""
        if self.gradients is None:
            self.gradients = Gradients(network, partial(self._loss, network), clips.device)
        loss = self.gradients(clips, labels)
        sgd.step()
        return loss

    def _loss(self, network: nn.Module, clips: Tensor, labels: Tensor, _: Tensor) -> Tensor:
        with torch.autocast("cuda", torch.bfloat16, enabled=self.lower):
            logits = network(clips)
        return label_loss(logits.float(), labels)


def step_on(device: torch.device) -> Step:
    """The step of proxy trainings on `device`."""
    return GpuStep() if device.type == "cuda" else train_step


def train(
    network: nn.Module, sgd: torch.optim.SGD, batches: Iterable[Batch], recipe: Recipe, device: torch.device,
    log: Callable[[int, float, float], None], begin: int = 0, step_of: Step | None = None,
    every: int | None = None,
) -> float:  # fmt: skip
    """Trains on `batches`, which are those of the steps from `begin` on; returns the last logged loss.

    The schedule is that of recipe.steps, however few batches come. log(step, loss, lr) is called every
    `every` steps (none: about 20 times in all) and after the last batch; between two calls nothing but
    network, optimiser and random state is carried over, so that `snapshot` taken there is all that a
    later call needs. step_of: what one step does, none: `step_on(device)`. Raises Diverged.
    """
    network.train()
    step_of = step_of or step_on(device)
    every = every or max(1, recipe.steps // 20)
    running, seen, mean, lr, step = torch.zeros((), device=device), 0, math.nan, 0.0, begin
    for step, batch in enumerate(batches, begin + 1):
        lr = lr_at((step - 1) / recipe.steps, recipe)
        for group in sgd.param_groups:
            group["lr"] = lr
        clips = batch.clips.to(device, non_blocking=True)
        running += step_of(network, sgd, clips, batch.labels.to(device, non_blocking=True))
        seen += 1
        if step % every == 0:
            mean, seen, running = _settle(running, seen, step), 0, torch.zeros((), device=device)
            log(step, mean, lr)
    if seen:
        mean = _settle(running, seen, step)
        log(step, mean, lr)
    return mean


def _settle(running: Tensor, seen: int, step: int) -> float:
    # Read rarely: on a GPU every read waits for the device.
    mean = float(running) / seen
    if not math.isfinite(mean):
        raise Diverged(f"the loss is {mean} at step {step}; a lower learning rate may help")
    return mean


def snapshot(network: nn.Module, sgd: torch.optim.SGD) -> dict[str, Any]:
    """All that a training carries from step to step, as tensors and plain values."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {
        "network": network.state_dict(),
        "optimizer": sgd.state_dict(),
        "random": torch.get_rng_state(),
        "random_cuda": cuda,
    }


def restore(network: nn.Module, sgd: torch.optim.SGD, state: Mapping[str, Any]) -> None:
    """The inverse of `snapshot`: what follows on a CPU is bit for bit what would have followed."""
    network.load_state_dict(state["network"])
    sgd.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["random"])
    if state["random_cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["random_cuda"])
