"""A step in parts against a step in one; a compiled network against the same one as it is."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from fitting_cases import SMALL, after, folder_of, training_of, with_recipe
from safetensors.torch import load_file
from torch import Tensor, nn

from expander.config.settings import TrainRecipe
from expander.model.network import X3D
from expander.training.distributed import Workers
from expander.training.schedule import optimizer
from expander.training.step import FullStep
from expander.training.trainer import fit

CPU = torch.device("cpu")


def network_of(seed: int) -> X3D:
    """One whose blocks and classifier do something from the start."""
    torch.manual_seed(seed)
    network = X3D(SMALL.with_classes(3), dropout=0.0, he_head=True)
    for name, parameter in network.named_parameters():
        if name.endswith(("bn_c.weight", "fc2.weight")):
            nn.init.normal_(parameter)
    return network


def trained(clips: Tensor, labels: Tensor, accumulate: int, training: bool) -> dict[str, Tensor]:
    """The parameters after three steps on `clips`."""
    network = network_of(seed=0).train(training)
    recipe = TrainRecipe(batch=len(clips), accumulate=accumulate, label_smoothing=0.1)
    sgd = optimizer(network, replace(recipe.loop(10, False), lr=0.1))
    step = FullStep(network, recipe, 0, Workers(device=CPU), None)
    for _ in range(3):
        step(network, sgd, clips, labels)
    return {name: parameter.detach() for name, parameter in network.named_parameters()}


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    """Up to 1e-5 of the length of each parameter: gradients are added in another order. All have moved."""
    first = dict(network_of(seed=0).named_parameters())
    for name, value in wanted.items():
        assert not torch.equal(value, first[name]), name
        assert float((found[name] - value).norm()) < 1e-5 * float(value.norm()), name


@pytest.mark.parametrize("accumulate", [2, 4, 8])
def test_a_batch_in_parts_gives_the_parameters_of_the_whole_batch(accumulate: int) -> None:
    """Different clips in each part, batch norm by its running statistics: nothing depends on the parts."""
    torch.manual_seed(1)
    clips, labels = torch.randn(8, 3, 2, 16, 16), torch.arange(8) % 3
    whole = trained(clips, labels, 1, training=False)
    assert_same(trained(clips, labels, accumulate, training=False), whole)


def test_equal_parts_give_the_parameters_of_the_whole_batch_with_batch_statistics_too() -> None:
    """Each part is the same four clips, so that the statistics of a part are those of the batch."""
    torch.manual_seed(1)
    clips, labels = torch.randn(4, 3, 2, 16, 16).repeat(2, 1, 1, 1, 1), (torch.arange(4) % 3).repeat(2)
    assert_same(trained(clips, labels, 2, training=True), trained(clips, labels, 1, training=True))


def compiler() -> str | None:
    """The C++ compiler that torch.compile would take on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++"))


@pytest.mark.slow
@pytest.mark.skipif(compiler() is None, reason="torch.compile needs a C++ compiler: install g++")
def test_a_compiled_training_goes_on_as_it_is_and_the_other_way_round(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """The same losses up to rounding, 1e-3 after 12 steps; the same names of the weights.

    What is compiled is kept with pytest's own cache, as our kernels are.
    """
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(request.config.cache.mkdir("inductor")))
    plain = training_of(videos, epochs=2, ema=0.9, dropout=0.0)
    compiled = with_recipe(plain, compile=True)
    whole = folder_of(tmp_path / "whole", plain)
    fit(plain, whole, Workers(device=CPU))
    for name, first, then in (("to plain", compiled, plain), ("to compiled", plain, compiled)):
        folder = folder_of(tmp_path / name, first)
        assert fit(first, folder, Workers(device=CPU), stop=after(5)).state == "stopped"
        assert fit(then, folder, Workers(device=CPU)).state == "finished"
        for row, wanted in zip(folder.rows(), whole.rows(), strict=True):
            assert row["step"] == wanted["step"]
            key = "loss" if "loss" in row else "val_loss"
            assert row[key] == pytest.approx(wanted[key], rel=1e-3)
        for file in (folder.best, folder.last):
            assert load_file(file).keys() == X3D(plain.spec).state_dict().keys()
