"""A training step on a GPU as one CUDA graph: hundreds of launches from Python become a single one.

A small network spends most of a step on launching. The first batches run as they are, which also compiles
the kernels; then forward, loss and backward are recorded once and replayed on the same memory. Batches of
another shape, and devices other than GPUs, go on as they are.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor, nn

from expander.errors import first_line

WARM_UP = 3
"""Batches before the recording: kernels are compiled and libraries have chosen theirs."""
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Of clips (N, 3, T, H, W), labels (N,) and the share () of a mixed clip that is its own."""
log = logging.getLogger(__name__)


class Gradients:
    """Sets the gradients of a network's parameters for a batch, and says its loss."""

    def __init__(self, network: nn.Module, loss: Loss, device: torch.device) -> None:
        self.parameters = [p for p in network.parameters() if p.requires_grad]
        self.loss, self.batches, self.records = loss, 0, device.type == "cuda"
        self.graph: torch.cuda.CUDAGraph | None = None
        self.inputs: tuple[Tensor, Tensor, Tensor]
        self.result: Tensor
        self.kept: list[Tensor | None]

    def __call__(self, clips: Tensor, labels: Tensor, share: float = 1.0) -> Tensor:
        """The loss () of clips and labels; the gradients are those of this batch alone."""
        own = torch.full((), share, device=clips.device)
        if self.records and self.graph is None and self.batches >= WARM_UP:
            self._record(clips, labels, own)
        self.batches += 1
        if self.graph is None or clips.shape != self.inputs[0].shape:
            return self._run(clips, labels, own)
        for held, given in zip(self.inputs, (clips, labels, own), strict=True):
            held.copy_(given)
        self.graph.replay()
        for parameter, gradient in zip(self.parameters, self.kept, strict=True):
            parameter.grad = gradient
        return self.result.clone()

    def _run(self, clips: Tensor, labels: Tensor, own: Tensor) -> Tensor:
        for parameter in self.parameters:
            parameter.grad = None
        loss = self.loss(clips, labels, own)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _record(self, clips: Tensor, labels: Tensor, own: Tensor) -> None:
        """Where it cannot be recorded, all goes on without: slower, and the same."""
        torch.cuda.empty_cache()  # what the batches before took: a graph has memory of its own
        self.inputs = clips.clone(), labels.clone(), own
        graph = torch.cuda.CUDAGraph()
        try:
            # The thread that pins the loader's memory may go on meanwhile.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                self.result = self._run(*self.inputs)
        except RuntimeError as error:
            log.warning("steps are not recorded as a CUDA graph, which is slower: %s", first_line(error))
            self.records = False
            return
        self.kept = [parameter.grad for parameter in self.parameters]
        self.graph = graph
