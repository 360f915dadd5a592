"""Weights in and out: equal to PyTorchVideo's network, bit-equal round trips, other networks refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnxruntime
import pytest
import torch
from foreign import SMALL, Shapes, drawn, mmaction2_shapes, ours, randomised, slowfast_shapes
from peers import create_x3d
from torch import Tensor, nn

from expander.config.space import load_spec
from expander.errors import UsageError
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.weights.checkpoint_file import open_checkpoint
from expander.weights.convert import to_library, to_ours
from expander.weights.detect import library_of, spec_of
from expander.weights.export import export
from expander.weights.key_map import LIBRARIES, MMACTION2, PYTORCHVIDEO, SLOWFAST

PUBLISHED = ["x3d_xs", "x3d_s", "x3d_m", pytest.param("x3d_l", marks=pytest.mark.slow)]


def clips(spec: Spec, crop: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, spec.frames, crop, crop, generator=generator)


def relative(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def imported(path: Path, spec: Spec | None = None) -> tuple[X3D, Spec]:
    state = open_checkpoint(path)
    library = library_of(state, str(path))
    spec = spec or spec_of(state, library, str(path)).spec
    network = X3D(spec).eval()
    network.load_state_dict(to_ours(state, spec, library, str(path)))
    return network, spec


@pytest.mark.parametrize("name", PUBLISHED)
@torch.inference_mode()
def test_weights_of_pytorchvideo_give_its_logits_at_both_crops(tmp_path: Path, name: str) -> None:
    spec = load_spec(name)
    theirs = randomised(create_x3d(spec, spec.crop))
    torch.save({"model_state": theirs.state_dict()}, tmp_path / f"{name}.pyth")
    network, found = imported(tmp_path / f"{name}.pyth")
    assert found == spec
    for crop in (spec.crop, spec.test_size):
        judge = create_x3d(spec, crop).eval()
        judge.load_state_dict(theirs.state_dict())
        clip = clips(spec, crop)
        assert relative(network(clip), judge(clip)) < 1e-4


@pytest.mark.parametrize("name", PUBLISHED)
@torch.inference_mode()
def test_what_is_exported_to_pytorchvideo_gives_our_logits_there(tmp_path: Path, name: str) -> None:
    spec = load_spec(name)
    network, file = ours(spec), tmp_path / "out.pyth"
    assert export(network, spec, "pytorchvideo", file) < 1e-4
    theirs = create_x3d(spec, spec.crop).eval()
    theirs.load_state_dict(torch.load(file, weights_only=True)["model_state"], strict=True)
    clip = clips(spec, spec.crop)
    assert relative(theirs(clip), network(clip)) < 1e-4


FOREIGN = [("slowfast", slowfast_shapes, "model_state"), ("mmaction2", mmaction2_shapes, "state_dict")]


@pytest.mark.parametrize(("name", "shapes", "container"), FOREIGN)
@pytest.mark.parametrize("spec", [load_spec("x3d_s"), SMALL], ids=["x3d_s", "small"])
def test_slowfast_and_mmaction2_come_back_bit_equal(
    tmp_path: Path, name: str, shapes: Callable[[Spec], Shapes], container: str, spec: Spec
) -> None:
    state = drawn(shapes(spec))
    torch.save({container: state, "epoch": 3}, tmp_path / "in.pth")
    network, found = imported(tmp_path / "in.pth")
    assert (found.widths, found.inner_widths, found.depths) == (spec.widths, spec.inner_widths, spec.depths)
    back = to_library(network, found, LIBRARIES[name])
    assert back.keys() == state.keys()
    assert all(torch.equal(back[key], state[key]) for key in state)


def test_prefixes_and_missing_counters_are_tolerated(tmp_path: Path) -> None:
    state = {f"model.{name}": value for name, value in drawn(slowfast_shapes(SMALL)).items()
             if not name.endswith("tracked")}  # fmt: skip
    torch.save({"model_state": state}, tmp_path / "in.pyth")
    network, _ = imported(tmp_path / "in.pyth")
    assert torch.equal(network.head.fc2.bias, state["model.head.projection.bias"])
    assert int(network.stem.bn.num_batches_tracked or -1) in (0, -1)


def test_the_file_name_decides_between_networks_of_the_same_tensors() -> None:
    state = drawn(slowfast_shapes(load_spec("x3d_m").with_classes(12)))
    for name, wanted in (("x3d_m.pyth", "x3d_m"), ("X3D_XS.pyth", "x3d_xs"), ("some.pyth", "x3d_xs")):
        found = spec_of(state, SLOWFAST, name)
        assert found.alike[0] == wanted
        assert found.spec == load_spec(wanted).with_classes(12)


def test_sizes_that_no_spec_has_ask_for_one() -> None:
    state = drawn(slowfast_shapes(SMALL))
    state["s3.pathway0_res0.branch2.c.weight"] = torch.zeros(24, 36, 1, 1, 1)
    with pytest.raises(UsageError, match="--spec"):
        spec_of(state, SLOWFAST, "x.pyth")


@pytest.mark.parametrize("change", ["missing", "unknown", "shape", "kind"])
def test_a_state_that_differs_is_refused_with_the_keys(change: str) -> None:
    state, key = drawn(slowfast_shapes(SMALL)), "s2.pathway0_res0.branch2.a.weight"
    if change == "missing":
        del state[key]
    if change == "unknown":
        state["s9.extra"] = torch.zeros(1)
        key = "s9.extra"
    if change == "shape":
        state[key] = torch.zeros(1, 2, 1, 1, 1)
    if change == "kind":
        state[key] = state[key].long()
    with pytest.raises(UsageError, match=key):
        to_ours(state, SMALL, SLOWFAST, "x.pyth")


def test_weights_taken_for_another_network_name_the_one_that_they_fit() -> None:
    state = drawn(slowfast_shapes(load_spec("x3d_s")))
    with pytest.raises(UsageError, match=r"s2\.pathway0_res3\.branch2\.a\.weight.*; they are of x3d_xs or "):
        to_ours(state, load_spec("x3d_l"), SLOWFAST, "x.pyth")


def test_a_training_step_from_imported_weights_reaches_every_parameter(tmp_path: Path) -> None:
    theirs = randomised(create_x3d(replace(load_spec("x3d_xs"), spatial=1.0), 112))
    torch.save(theirs.state_dict(), tmp_path / "plain.pyth")
    network, _ = imported(tmp_path / "plain.pyth", load_spec("x3d_xs"))
    network.train()
    loss = nn.functional.cross_entropy(network(clips(load_spec("x3d_xs"), 64, 2)), torch.tensor([1, 2]))
    loss.backward()  # type: ignore[no-untyped-call]
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().sum()) > 0, name


@pytest.mark.slow
@torch.inference_mode()
def test_the_graphs_give_our_logits_at_another_batch_size(tmp_path: Path) -> None:
    network = ours(SMALL)
    assert export(network, SMALL, "onnx", tmp_path / "x.onnx") < 1e-4
    assert export(network, SMALL, "torch-export", tmp_path / "x.pt2") < 1e-4
    session = onnxruntime.InferenceSession(tmp_path / "x.onnx", providers=["CPUExecutionProvider"])
    program = torch.export.load(tmp_path / "x.pt2").module()
    for count in (1, 2, 5):
        clip = clips(SMALL, SMALL.crop, count)
        wanted = network(clip)
        found = session.run(["logits"], {"clips": clip.numpy()})[0]
        assert relative(torch.from_numpy(found), wanted) < 1e-4
        assert relative(program(clip), wanted) < 1e-4


def test_pytorchvideo_has_no_norm_on_the_first_shortcut_and_one_on_the_others() -> None:
    keys = set(create_x3d(load_spec("x3d_xs"), 160).state_dict())
    assert "blocks.1.res_blocks.0.branch1_norm.weight" not in keys
    assert {"blocks.2.res_blocks.0.branch1_norm.weight", "blocks.1.res_blocks.0.branch1_conv.weight"} <= keys
    assert PYTORCHVIDEO.module("stem.conv_t") == "blocks.0.conv.conv_xy"
    assert MMACTION2.module("conv_b", 0, 2) == "backbone.layer1.2.conv2.conv"
