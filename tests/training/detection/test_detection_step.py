"""A batch of people in parts, and shared by processes, against the whole batch: crowds beside loners."""

from __future__ import annotations

import math
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from expander.config.settings import TrainRecipe
from expander.model.detector import Detector
from expander.specs.spec import Base, Spec
from expander.training.detection.step import DetectionStep
from expander.training.distributed import Workers

SPEC = Spec(Base(frames=2, stride=8, crop=32, stem_width=4, depths=(1, 1), head_width=8, width_divisor=2,
                 classes=3))  # fmt: skip
CPU = torch.device("cpu")
CROWDS = (4, 1, 1, 2, 1, 5, 1, 1)
"""People of each clip: four parts of two clips have 5, 3, 6 and 2, two processes 8 and 8 or 7 and 9."""
Gradients = dict[str, Tensor]


def network_of() -> Detector:
    """One whose blocks and classifier do something from the start; batch norm by its running statistics."""
    torch.manual_seed(0)
    network = Detector(SPEC, dropout=0.0, he_head=True)
    for name, parameter in network.named_parameters():
        if name.endswith(("bn_c.weight", "fc2.weight")):
            nn.init.normal_(parameter)
    return network.eval()


def batch(crowds: Sequence[int] = CROWDS) -> tuple[Tensor, Tensor]:
    """Random clips, and rows of people: clip, box, labels."""
    draws = torch.Generator().manual_seed(1)
    clips = torch.randn(len(crowds), 3, 2, 32, 32, generator=draws)
    number = torch.arange(len(crowds)).repeat_interleave(torch.tensor(crowds))[:, None]
    corner = torch.rand(len(number), 2, generator=draws) * 16
    size = 4 + torch.rand(len(number), 2, generator=draws) * 12
    labels = (torch.rand(len(number), 3, generator=draws) < 0.4).float()
    return clips, torch.cat([number, corner, corner + size, labels], 1)


def share_of(rank: int, size: int, clips: Tensor, people: Tensor) -> tuple[Tensor, Tensor]:
    """What a process loads: its clips, and their people with clips counted from its first."""
    part = len(clips) // size
    first = rank * part
    own = people[(people[:, 0] >= first) & (people[:, 0] < first + part)].clone()
    own[:, 0] -= first
    return clips[first : first + part], own


def stepped(clips: Tensor, people: Tensor, team: Workers, accumulate: int = 1, **more: float
            ) -> tuple[float, Gradients]:  # fmt: skip
    """The loss of a step and the gradients that it leaves; a rate of 0 leaves the weights."""
    network = network_of()
    recipe = TrainRecipe(batch=team.size * len(clips), accumulate=accumulate, **more)  # type: ignore[arg-type]
    step = DetectionStep(network, recipe, 0, team, None)
    loss = step(network, torch.optim.SGD(network.parameters(), lr=0.0), clips, people)
    return float(loss), {name: parameter.grad for name, parameter in network.named_parameters()
                         if parameter.grad is not None}  # fmt: skip


def computed(clips: Tensor, people: Tensor, smoothing: float = 0.0) -> tuple[float, Gradients]:
    """The mean over all people and classes, as one call of the network and torch's own loss say it."""
    network = network_of()
    logits = network(clips, people[:, 1:5], people[:, 0].long())
    targets = people[:, 5:].lerp(torch.full((), 0.5), smoothing)
    loss = binary_cross_entropy_with_logits(logits, targets, reduction="sum") / targets.numel()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {name: parameter.grad for name, parameter in network.named_parameters()
                         if parameter.grad is not None}  # fmt: skip


def assert_same(found: tuple[float, Gradients], wanted: tuple[float, Gradients]) -> None:
    """Up to 1e-5 of each gradient's length: they are added in another order."""
    assert found[0] == pytest.approx(wanted[0], rel=1e-5)
    assert found[1].keys() == wanted[1].keys()
    for name, gradient in wanted[1].items():
        assert float((found[1][name] - gradient).norm()) <= 1e-5 * float(gradient.norm()) + 1e-9, name
    assert sum(float(gradient.norm()) > 0 for gradient in wanted[1].values()) > 10


@pytest.mark.parametrize("accumulate", [1, 2, 4, 8])
def test_a_batch_in_parts_has_the_loss_and_gradients_of_the_whole(accumulate: int) -> None:
    clips, people = batch()
    assert_same(stepped(clips, people, Workers(device=CPU), accumulate), computed(clips, people))


def test_the_mean_of_the_parts_would_be_another_loss() -> None:
    """What the test above would not see if every part had as many people."""
    clips, people = batch()
    parts = [computed(*share_of(rank, 4, clips, people))[0] for rank in range(4)]
    assert sum(parts) / 4 != pytest.approx(computed(clips, people)[0], rel=1e-3)


def test_labels_are_smoothed_towards_one_half() -> None:
    clips, people = batch()
    found = stepped(clips, people, Workers(device=CPU), 2, label_smoothing=0.2)
    assert_same(found, computed(clips, people, 0.2))
    assert found[0] != pytest.approx(computed(clips, people)[0], rel=1e-3)


def test_the_loss_of_a_network_that_knows_nothing_is_that_of_a_coin() -> None:
    """Logits of 0: every class of every person costs ln 2."""
    clips, people = batch()
    network = network_of()
    nn.init.zeros_(network.head.fc2.weight)
    step = DetectionStep(network, TrainRecipe(batch=8, accumulate=4), 0, Workers(device=CPU), None)
    loss = step(network, torch.optim.SGD(network.parameters(), lr=0.1), clips, people)
    assert float(loss) == pytest.approx(math.log(2), rel=1e-6)
    bias = network.head.fc2.bias.detach()
    expected = -0.1 * (0.5 - people[:, 5:].mean(0)) / 3  # of the mean over three classes
    torch.testing.assert_close(bias, expected)


def test_people_are_never_recorded_as_cuda_graphs() -> None:
    assert not DetectionStep.recordable


def _share(rank: int, size: int, accumulate: int, crowds: Sequence[int], folder: Path) -> None:
    """One of several processes; leaves what it found."""
    torch.set_num_threads(1)
    store = dist.FileStore(str(folder / "store"), size)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=size)
    clips, people = share_of(rank, size, *batch(crowds))
    torch.save(stepped(clips, people, Workers(rank, size, CPU), accumulate), folder / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(("accumulate", "crowds"), [(1, (1, 2, 1, 1, 3, 4, 1, 5)), (2, CROWDS)])
def test_two_processes_have_the_loss_and_gradients_of_one(
    tmp_path: Path, accumulate: int, crowds: Sequence[int]
) -> None:
    context = get_context("spawn")
    team = [context.Process(target=_share, args=(rank, 2, accumulate, crowds, tmp_path)) for rank in range(2)]
    for process in team:
        process.start()
    for process in team:
        process.join(300)
    assert [process.exitcode for process in team] == [0, 0]
    for rank in range(2):
        assert_same(torch.load(tmp_path / f"{rank}.pt"), computed(*batch(crowds)))
