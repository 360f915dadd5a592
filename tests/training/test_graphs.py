"""Gradients of batches, recorded where there is a GPU: those of the plain step, whatever comes after what."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from expander.training.graphs import WARM_UP, Gradients

NO_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
DEVICES = ["cpu", pytest.param("cuda", marks=NO_GPU)]


@pytest.mark.parametrize("device", DEVICES)
def test_gradients_are_those_of_the_batch_alone_also_of_another_size(device: str) -> None:
    torch.manual_seed(0)
    net = nn.Linear(6, 3).to(device)
    gradients = Gradients(net, lambda x, y, share: share * cross_entropy(net(x), y), torch.device(device))
    for clips in (*[4] * (WARM_UP + 2), 2, 4):
        x, y = torch.randn(clips, 6, device=device), torch.arange(clips, device=device) % 3
        loss, share = gradients(x, y, 0.5), 0.5
        wanted = share * cross_entropy(net(x), y)
        expected: tuple[Tensor, ...] = torch.autograd.grad(wanted, list(net.parameters()))
        assert loss == pytest.approx(wanted.item(), rel=1e-5)
        for parameter, other in zip(net.parameters(), expected, strict=True):
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, other)
