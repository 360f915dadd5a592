"""One optimiser step for detection: people of clips in place of clips.

The loss is the mean over the people and classes of the whole batch, however they lie in its parts and
processes, so that a crowd counts as much in a part with others as alone.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from expander.data.ava.samples import boxes_of, labels_of, numbers_of_clips
from expander.training.loop import label_loss
from expander.training.step import FullStep


def answers(forward: object, clips: Tensor, people: Tensor) -> Tensor:
    """Logits (K, C) of `people`, rows as in a batch of `data.ava.samples`."""
    assert callable(forward)
    found: Tensor = forward(clips, boxes_of(people), numbers_of_clips(people))
    return found


def people_step(network: nn.Module, sgd: torch.optim.SGD, clips: Tensor, people: Tensor) -> Tensor:
    """As `train_step` of proxies, on people: on a GPU in bfloat16 where that is safe, without a graph."""
    lower = clips.is_cuda and torch.cuda.is_bf16_supported()
    with torch.autocast(clips.device.type, torch.bfloat16, enabled=lower):
        logits = answers(network, clips, people)
    loss = label_loss(logits.float(), labels_of(people))
    sgd.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    sgd.step()
    return loss.detach()


class DetectionStep(FullStep):
    """See FullStep. labels: people, (K, 5 + C). Without CUDA graphs: people are not always as many."""

    recordable = False

    def _parts(self, clips: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor, float | Tensor]]:
        counted = self.team.mean(torch.tensor(float(len(labels)), device=labels.device))
        size = len(clips) // self.recipe.accumulate
        number = numbers_of_clips(labels)
        for first in range(0, len(clips), size):
            own = labels[(first <= number) & (number < first + size)].clone()
            own[:, 0] -= first
            yield clips[first : first + size], own, counted / len(own)

    def _loss_of(self, clips: Tensor, labels: Tensor, share: float | Tensor) -> Tensor:  # noqa: ARG002
        with torch.autocast(clips.device.type, torch.bfloat16, enabled=self.lower):
            logits = answers(self.forward, clips, labels)
        return label_loss(logits.float(), labels_of(labels), self.recipe.label_smoothing)
