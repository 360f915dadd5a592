"""Weights in and out: equal to PyTorchVideo's network, bit-equal round trips, nothing bad accepted."""

from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import torch
from peers import create_x3d
from safetensors.torch import save_file
from torch import Tensor, nn

from expander.errors import DataError, EnvironmentFault, UsageError
from expander.model.checkpoint import open_checkpoint
from expander.model.convert import to_library, to_ours
from expander.model.detect import library_of, spec_of
from expander.model.export import export
from expander.model.names import LIBRARIES, MMACTION2, PYTORCHVIDEO, SLOWFAST
from expander.model.network import X3D
from expander.model.weights import load_weights, save_weights
from expander.space import load_spec
from expander.spec import Base, Spec

Shapes = dict[str, tuple[int, ...]]
SMALL = Spec(Base(4, 6, 64, 8, (1, 2), 32, 7, width_divisor=8), bottleneck=2.25)
PUBLISHED = ["x3d_xs", "x3d_s", "x3d_m", pytest.param("x3d_l", marks=pytest.mark.slow)]


def randomised(network: nn.Module, seed: int = 0) -> nn.Module:
    """No batch norm is the identity and none is at its start, so that every tensor counts."""
    generator = torch.Generator().manual_seed(seed)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            assert module.running_mean is not None
            assert module.running_var is not None
            module.weight.data.uniform_(0.5, 1.5, generator=generator)
            module.bias.data.normal_(0, 0.2, generator=generator)
            module.running_mean.normal_(0, 0.2, generator=generator)
            module.running_var.uniform_(0.5, 1.5, generator=generator)
    return network.eval()


def ours(spec: Spec) -> X3D:
    torch.manual_seed(0)
    network = randomised(X3D(spec))
    assert isinstance(network, X3D)
    return network


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


NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def slowfast_shapes(spec: Spec) -> Shapes:
    """Keys and shapes of SlowFast's X3D, from its published structure."""
    stem, last, hidden = spec.stem_width, spec.inner_widths[-1], spec.base.head_width
    found: Shapes = {
        "s1.pathway0_stem.conv_xy.weight": (stem, 3, 1, 3, 3),
        "s1.pathway0_stem.conv.weight": (stem, 1, 5, 1, 1),
        **norm("s1.pathway0_stem.bn", stem),
        "head.conv_5.weight": (last, spec.widths[-1], 1, 1, 1),
        **norm("head.conv_5_bn", last),
        "head.lin_5.weight": (hidden, last, 1, 1, 1),
        "head.projection.weight": (spec.base.classes, hidden),
        "head.projection.bias": (spec.base.classes,),
    }
    names = ("branch1", "branch1_bn", "branch2.a", "branch2.a_bn", "branch2.b", "branch2.b_bn", "branch2.c",
             "branch2.c_bn", "branch2.se.fc1", "branch2.se.fc2")  # fmt: skip
    return found | blocks(spec, lambda stage, block: f"s{stage + 2}.pathway0_res{block}.", names)


def mmaction2_shapes(spec: Spec) -> Shapes:
    """Keys and shapes of MMAction2's X3D, from its published structure."""
    stem, last, hidden = spec.stem_width, spec.inner_widths[-1], spec.base.head_width
    found: Shapes = {
        "backbone.conv1_s.conv.weight": (stem, 3, 1, 3, 3),
        "backbone.conv1_t.conv.weight": (stem, 1, 5, 1, 1),
        **norm("backbone.conv1_t.bn", stem),
        "backbone.conv5.conv.weight": (last, spec.widths[-1], 1, 1, 1),
        **norm("backbone.conv5.bn", last),
        "cls_head.fc1.weight": (hidden, last),
        "cls_head.fc2.weight": (spec.base.classes, hidden),
        "cls_head.fc2.bias": (spec.base.classes,),
    }
    names = ("downsample.conv", "downsample.bn", "conv1.conv", "conv1.bn", "conv2.conv", "conv2.bn",
             "conv3.conv", "conv3.bn", "se_module.fc1", "se_module.fc2")  # fmt: skip
    return found | blocks(spec, lambda stage, block: f"backbone.layer{stage + 1}.{block}.", names)


def norm(name: str, width: int) -> Shapes:
    return {f"{name}.{part}": () if part == "num_batches_tracked" else (width,) for part in NORM}


def blocks(
    spec: Spec, prefix: Callable[[int, int], str], names: tuple[str, ...]
) -> Shapes:
    """Projection in the first block of a stage, squeeze-excite of a 16th (at least 8) in every second."""
    found: Shapes = {}
    width = spec.stem_width
    for stage, (out, inner) in enumerate(zip(spec.widths, spec.inner_widths, strict=True)):
        for block in range(spec.depths[stage]):
            before, into = prefix(stage, block), width if block == 0 else out
            shortcut, shortcut_bn, a, a_bn, b, b_bn, c, c_bn, fc1, fc2 = (before + name for name in names)
            if block == 0:
                found |= {f"{shortcut}.weight": (out, into, 1, 1, 1), **norm(shortcut_bn, out)}
            found |= {f"{a}.weight": (inner, into, 1, 1, 1), **norm(a_bn, inner)}
            found |= {f"{b}.weight": (inner, 1, 3, 3, 3), **norm(b_bn, inner)}
            found |= {f"{c}.weight": (out, inner, 1, 1, 1), **norm(c_bn, out)}
            if block % 2 == 0:
                hidden = {18: 8, 36: 8, 54: 8, 108: 8, 216: 16, 432: 32}[inner]
                found |= {f"{fc1}.weight": (hidden, inner, 1, 1, 1), f"{fc1}.bias": (hidden,)}
                found |= {f"{fc2}.weight": (inner, hidden, 1, 1, 1), f"{fc2}.bias": (inner,)}
        width = out
    return found


def drawn(shapes: Shapes) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        name: torch.tensor(17) if name.endswith("tracked") else torch.rand(shape, generator=generator)
        for name, shape in shapes.items()
    }


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


# --- files that are not what they should be ---


class Payload:
    """Unpickled without care, this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


def test_a_malicious_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    target = tmp_path / "owned"
    torch.save({"model_state": Payload(target)}, tmp_path / "zip.pyth")
    (tmp_path / "raw.pyth").write_bytes(pickle.dumps({"model_state": Payload(target)}))
    for name in ("zip.pyth", "raw.pyth"):
        with pytest.raises(DataError, match="nothing of it was run"):
            open_checkpoint(tmp_path / name)
    assert not target.exists()
    torch.load(tmp_path / "zip.pyth", weights_only=False)
    assert target.exists()  # the payload would have worked


@pytest.mark.parametrize("content", [b"", b"a text file\n", b"PK\x03\x04cut", b"\x80\x02]q\x00."])
@pytest.mark.parametrize("name", ["x.pyth", "x.safetensors"])
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, content: bytes, name: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=name):
        open_checkpoint(tmp_path / name)
    with pytest.raises(DataError, match=name):
        load_weights(tmp_path / name)


LITTLE = """
import resource, sys
from pathlib import Path
from expander.model.checkpoint import open_checkpoint
from expander.errors import EnvironmentFault
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = resource.getrlimit(resource.RLIMIT_AS)
resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + (64 << 20), limit[1]))
try:
    open_checkpoint(Path(sys.argv[1]))
except EnvironmentFault as fault:
    print(fault)
resource.setrlimit(resource.RLIMIT_AS, limit)
print(open_checkpoint(Path(sys.argv[1]))["a.weight"].numel())
"""
"""A process that may take 64 MB more reads a file, and then without a limit."""


@pytest.mark.parametrize("name", ["x.pyth", "x.safetensors"])
def test_memory_that_does_not_suffice_is_no_damage(tmp_path: Path, name: str) -> None:
    path, state = tmp_path / name, {"a.weight": torch.zeros(32 << 20)}
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save(state, path)
    # In a process of its own: one that has run for long may have as much to give out again.
    done = subprocess.run(
        [sys.executable, "-c", LITTLE, os.fspath(path)], check=True, capture_output=True, text=True
    )
    told, size = done.stdout.splitlines()
    assert "not enough memory to read it (134 MB" in told
    assert int(size) == 32 << 20


@pytest.mark.parametrize("zipped", [True, False])
def test_300_damaged_checkpoints_are_told_in_one_line(tmp_path: Path, zipped: bool) -> None:
    path, rng = tmp_path / "x.pyth", random.Random(0)
    state = {f"a.{n}.weight": torch.randn(4, 3) for n in range(4)}
    torch.save({"model_state": state}, path, _use_new_zipfile_serialization=zipped)
    content, refused = path.read_bytes(), 0
    for _ in range(300):
        damaged = bytearray(content)
        if rng.random() < 0.3:
            del damaged[rng.randrange(len(damaged)) :]
        else:  # the pickled part comes first
            damaged[rng.randrange(min(len(damaged), 700))] ^= 1 << rng.randrange(8)
        path.write_bytes(damaged)
        try:
            open_checkpoint(path)
        except (DataError, EnvironmentFault) as error:
            refused += "\n" not in str(error)
    assert refused > 150


def test_sparse_and_quantised_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="deprecated"):
        quantised = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    for name, value in (("sparse", torch.eye(3).to_sparse()), ("quantised", quantised)):
        torch.save({"model_state": {"a": value}}, tmp_path / f"{name}.pyth")
        with pytest.raises(DataError, match=r"refused|sparse or quantised|trusted"):
            open_checkpoint(tmp_path / f"{name}.pyth")


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    path = tmp_path / "x.safetensors"
    save_weights(path, ours(SMALL), SMALL, tuple("abcdefg"), {"library": "slowfast"})
    return path


def test_saved_weights_load_as_they_were(saved: Path) -> None:
    loaded, network = load_weights(saved), ours(SMALL)
    assert (loaded.spec, loaded.classes, loaded.source) == (SMALL, tuple("abcdefg"), {"library": "slowfast"})
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], value)


def test_every_flipped_bit_and_every_cut_is_found(saved: Path) -> None:
    content = saved.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    spoken = [content.index(word) + 2 for word in (b'stem_width', b'classes', b'stride', b'sha256')]
    for place in (0, 9, *spoken, start, (start + len(content)) // 2, len(content) - 1):
        damaged = bytearray(content)
        damaged[place] ^= 1
        saved.write_bytes(damaged)
        with pytest.raises(DataError, match=str(saved)):
            load_weights(saved)
    for size in (4, start - 1, start + 5, len(content) - 1):
        saved.write_bytes(content[:size])
        with pytest.raises(DataError, match=str(saved)):
            load_weights(saved)


def test_weights_of_another_spec_are_refused_with_keys_and_the_one_that_fits(tmp_path: Path) -> None:
    spec = load_spec("x3d_xs").with_classes(3)
    path = tmp_path / "x.safetensors"
    save_weights(path, X3D(spec), spec, ("a", "b", "c"))
    with pytest.raises(UsageError, match=r"missing: stages\.0\.3\.bn_a\.bias, .*x3d_xs or x3d_s or x3d_m"):
        load_weights(path, load_spec("x3d_l"))
    # The same tensors for another clip are welcome, and its classes are those of the file.
    assert load_weights(path, load_spec("x3d_m")).spec == load_spec("x3d_m").with_classes(3)


def test_pytorchvideo_has_no_norm_on_the_first_shortcut_and_one_on_the_others() -> None:
    keys = set(create_x3d(load_spec("x3d_xs"), 160).state_dict())
    assert "blocks.1.res_blocks.0.branch1_norm.weight" not in keys
    assert {"blocks.2.res_blocks.0.branch1_norm.weight", "blocks.1.res_blocks.0.branch1_conv.weight"} <= keys
    assert PYTORCHVIDEO.module("stem.conv_t") == "blocks.0.conv.conv_xy"
    assert MMACTION2.module("conv_b", 0, 2) == "backbone.layer1.2.conv2.conv"
