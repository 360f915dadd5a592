"""One optimiser step of a full training: parts, mixed clips, lower precision, clipped gradients, EMA.

What chance decides in a part of a batch (dropout, mixup) follows from the seed, the step and the place of
the part in the batch alone: not from what was trained before in this process, nor from how many
processes share the batch. Source of mixup: arXiv 1710.09412, with the batch in reverse order as the
partner of each clip.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import clip_grad_norm_

from expander.config.settings import TrainRecipe
from expander.errors import EnvironmentFault, first_line, out_of_memory
from expander.profiling.memory import memory_remedy
from expander.training.averaging import WeightAverage
from expander.training.distributed import Workers
from expander.training.graphs import Gradients
from expander.training.loop import label_loss


class FullStep:
    """A training.Step. done: steps done so far, those before a resume included."""

    recordable = True
    """Whether a step of one size follows another, as CUDA graphs need it."""

    def __init__(
        self, network: nn.Module, recipe: TrainRecipe, seed: int, team: Workers,
        average: WeightAverage | None, done: int = 0,
    ) -> None:  # fmt: skip
        self.recipe, self.seed, self.team, self.average, self.done = recipe, seed, team, average, done
        self.wrapped = team.wrapped(network)
        self.forward: Callable[..., Tensor] = _compiled(self.wrapped) if recipe.compile else self.wrapped
        self.lower = lower_precision(recipe, team.device)
        whole = team.size == recipe.accumulate == 1 and not recipe.compile
        records = whole and self.recordable and team.device.type == "cuda"
        self.recorded = Gradients(network, self._loss_of, team.device) if records else None

    def __call__(self, network: nn.Module, sgd: torch.optim.SGD, clips: Tensor, labels: Tensor) -> Tensor:
        """Clips and labels of this process, as in a `Batch`; the loss before the step, over all."""
        self.done += 1
        total = self._gradients(sgd, clips, labels)
        if self.recipe.clip_norm:
            clip_grad_norm_(network.parameters(), self.recipe.clip_norm)
        sgd.step()
        if self.average is not None:
            self.average.update(network, self.done)
        return self.team.mean(total)

    def _gradients(self, sgd: torch.optim.SGD, clips: Tensor, labels: Tensor) -> Tensor:
        if self.recorded is not None:
            return self.recorded(*self._mixed(clips, labels, 1))
        sgd.zero_grad(set_to_none=True)
        total = torch.zeros((), device=clips.device)
        for number, (some, wanted, share) in enumerate(self._parts(clips, labels), 1):
            with self._apart(number < self.recipe.accumulate):
                loss = self._loss_of(*self._mixed(some, wanted, number)) / share
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _parts(self, clips: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float | Tensor]]:
        """Parts of the clips with their labels, and how many such parts the batch has."""
        each = (value.chunk(self.recipe.accumulate) for value in (clips, labels))
        for some, wanted in zip(*each, strict=True):
            yield some, wanted, self.recipe.accumulate

    def _mixed(self, clips: Tensor, labels: Tensor, number: int) -> tuple[Tensor, Tensor, float]:
        """Part `number` of a batch, mixed, and what is its own of each clip; chance begins anew."""
        place = self.team.rank * self.recipe.accumulate + number
        rng = np.random.default_rng((self.seed, self.done, place))
        torch.manual_seed(int(rng.integers(2**62)))
        clips, share = mixed(clips, self.recipe.mixup, rng)
        return clips, labels, share

    def _loss_of(self, clips: Tensor, labels: Tensor, share: float | Tensor) -> Tensor:
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=self.lower):
            logits = self.forward(clips)
        share = share if self.recipe.mixup else 1.0
        return mixed_loss(logits.float(), labels, share, self.recipe.label_smoothing)

    def _apart(self, more: bool) -> contextlib.AbstractContextManager[None]:
        """Gradients of all but the last part stay in this process: they are exchanged once a step."""
        if more and isinstance(self.wrapped, DistributedDataParallel):
            return self.wrapped.no_sync()
        return contextlib.nullcontext()


def mixed(clips_NCTHW: Tensor, alpha: float, rng: np.random.Generator) -> tuple[Tensor, float]:
    """Each clip mixed with its partner, and the share that is its own; alpha 0 mixes nothing."""
    if alpha == 0:
        return clips_NCTHW, 1.0
    share = float(rng.beta(alpha, alpha))
    return clips_NCTHW.lerp(clips_NCTHW.flip(0), 1 - share), share


def mixed_loss(logits_NK: Tensor, labels: Tensor, share: float | Tensor, smoothing: float) -> Tensor:
    """Loss of clips that are `share` of their own label and the rest of their partner's."""
    own = label_loss(logits_NK, labels, smoothing)
    if isinstance(share, float) and share == 1:  # a tensor's value is not asked for: it may be on a GPU
        return own
    other = label_loss(logits_NK, labels.flip(0), smoothing)
    loss: Tensor = share * own + (1 - share) * other
    return loss


def _compiled(network: nn.Module) -> Callable[..., Tensor]:
    """As torch.compile makes it: the weights, and their names, stay those of `network`."""
    # Dynamo says that it looks through a cached question about an installed package: it may.
    warnings.filterwarnings("ignore", r"(?s).*Dynamo detected a call to a `functools.lru_cache`")
    return torch.compile(network)


def fault_of(error: Exception, recipe: TrainRecipe, workers: int) -> EnvironmentFault | None:
    """What a person is told when a step failed for lack of memory or of a compiler; None: otherwise."""
    if out_of_memory(error):
        return EnvironmentFault(memory_remedy(recipe.batch, recipe.accumulate, workers))
    if recipe.compile:
        from torch._dynamo.exc import TorchDynamoException

        if isinstance(error, TorchDynamoException):
            said = f"train.compile: torch cannot compile the network: {first_line(error)}"
            return EnvironmentFault(f"{said}; install a C++ compiler (g++), or leave train.compile out")
    return None


def lower_precision(recipe: TrainRecipe, device: torch.device) -> bool:
    """Whether to compute in bfloat16 where that is safe."""
    if recipe.precision == "auto":
        return device.type == "cuda" and torch.cuda.is_bf16_supported()
    return recipe.precision == "bfloat16"
