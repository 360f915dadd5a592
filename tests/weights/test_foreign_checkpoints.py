"""Checkpoints as training libraries write them: any wrapper, container and company; nothing of them runs."""

from __future__ import annotations

import argparse
import collections
import datetime
import os
import shutil
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Run
from foreign import SMALL, drawn, mmaction2_shapes, ours, slowfast_shapes
from torch import Tensor, nn

from expander.errors import DataError, UsageError
from expander.weights.checkpoint_file import open_checkpoint, open_network
from expander.weights.convert import to_library, to_ours
from expander.weights.foreign import load_foreign
from expander.weights.key_map import LIBRARIES
from expander.weights.safetensors_file import load_weights
from expander.weights.state_dict import WRAPPERS

State = dict[str, Tensor]
STATES: dict[str, State] = {
    "slowfast": drawn(slowfast_shapes(SMALL)),
    "mmaction2": drawn(mmaction2_shapes(SMALL)),
    "pytorchvideo": to_library(ours(SMALL), SMALL, LIBRARIES["pytorchvideo"]),
}
SLOWFAST = STATES["slowfast"]
WRAPPED = ("_orig_mod.", "module.", "model.", "net.", "model.module.", "module.model.", "_orig_mod.module.",
           "module._orig_mod.", "model._orig_mod.module.", "module.net._orig_mod.", "learner.student.")


def same(found: State, wanted: State) -> bool:
    return found.keys() == wanted.keys() and all(torch.equal(found[key], wanted[key]) for key in wanted)


def saved(path: Path, content: Any) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize("prefix", WRAPPED)
@pytest.mark.parametrize("library", LIBRARIES)
def test_wrappers_of_any_order_and_nesting_come_off(tmp_path: Path, library: str, prefix: str) -> None:
    state = STATES[library]
    wrapped = {prefix + key: value for key, value in state.items()}
    for content in (wrapped, {"state_dict": wrapped, "epoch": 3}):
        found = open_checkpoint(saved(tmp_path / "x.pth", content))
        assert same(found, state)
        to_ours(found, SMALL, LIBRARIES[library], "x.pth")


def test_a_wrapper_around_a_part_of_the_network_comes_off(tmp_path: Path) -> None:
    """A compiled backbone; checkpointed blocks."""
    for wrapper in sorted(WRAPPERS):
        inner = {"backbone.": f"backbone.{wrapper}.", ".conv2.": f".conv2.{wrapper}."}
        state = {key.replace("backbone.", inner["backbone."]).replace(".conv2.", inner[".conv2."]): value
                 for key, value in STATES["mmaction2"].items()}  # fmt: skip
        assert same(open_checkpoint(saved(tmp_path / "x.pth", {"state_dict": state})), STATES["mmaction2"])


@pytest.mark.parametrize("key", ["model_state", "state_dict", "model_state_dict", "model", "net", "network",
                                 "weights", "network_state_dict", "model_ema", "anything"])  # fmt: skip
def test_the_container_may_have_any_name_and_others_beside_it(tmp_path: Path, key: str) -> None:
    parameters = [nn.Parameter(value) for value in SLOWFAST.values() if value.is_floating_point()]
    optimizer = torch.optim.SGD(parameters, 0.1, momentum=0.9)
    sum(parameter.sum() for parameter in parameters).backward()
    optimizer.step()
    content = {"epoch": 3, "optimizer": optimizer.state_dict(), key: dict(SLOWFAST), "args": {"lr": 0.1}}
    assert same(open_checkpoint(saved(tmp_path / "x.pt", content)), SLOWFAST)
    assert same(open_checkpoint(saved(tmp_path / "x.pt", {"ckpt": content})), SLOWFAST)


def test_keys_beside_the_network_are_left_out_and_told(tmp_path: Path) -> None:
    beside = {"loss.weight": torch.ones(7), "train_acc.correct": torch.zeros(())}
    for prefix in ("", "model."):
        state = {prefix + key: value for key, value in SLOWFAST.items()} | beside
        found = open_network(saved(tmp_path / "x.ckpt", {"state_dict": state}))
        assert same(dict(found.state), SLOWFAST)
        assert found.notes == ("left out, as not of the network: loss.weight, train_acc.correct (2)",)
    averaged = {f"module.{key}": value for key, value in SLOWFAST.items()} | {"n_averaged": torch.tensor(3)}
    assert same(open_checkpoint(saved(tmp_path / "swa.pt", averaged)), SLOWFAST)


def test_a_tensor_among_those_of_the_network_is_not_left_out(tmp_path: Path) -> None:
    state = {**SLOWFAST, "s1.pathway1_stem.conv.weight": torch.zeros(1)}
    found = open_checkpoint(saved(tmp_path / "x.pyth", {"model_state": state}))
    with pytest.raises(UsageError, match=r"1 unknown: s1\.pathway1_stem\.conv\.weight"):
        to_ours(found, SMALL, LIBRARIES["slowfast"], "x.pyth")


def moved(state: State) -> State:
    return {key: value + 1 for key, value in state.items()}


def test_key_names_one_of_several_networks(tmp_path: Path) -> None:
    average = {f"module.{key}": value for key, value in moved(SLOWFAST).items()}
    path = saved(tmp_path / "x.pth", {"state_dict": dict(SLOWFAST), "ema_state_dict": average})
    usual = open_network(path)
    assert same(dict(usual.state), SLOWFAST)
    assert usual.notes == ("taken from state_dict; --key takes another: ema_state_dict",)
    assert same(open_checkpoint(path, "state_dict"), SLOWFAST)
    assert same(open_checkpoint(path, "ema_state_dict"), moved(SLOWFAST))
    assert open_network(path, "ema_state_dict").notes == ()
    with pytest.raises(UsageError, match="no network at 'ema'; --key names one of: state_dict, ema_state_d"):
        open_checkpoint(path, "ema")


def test_two_networks_without_a_usual_one_ask_for_the_key(tmp_path: Path) -> None:
    both = {f"teacher.{key}": value for key, value in moved(SLOWFAST).items()}
    both |= {f"student.{key}": value for key, value in SLOWFAST.items()}
    path = saved(tmp_path / "x.ckpt", {"state_dict": both})
    with pytest.raises(UsageError, match=r"2 networks; --key .*: state_dict\.teacher, state_dict\.student"):
        open_checkpoint(path)
    for key in ("student", "state_dict.student"):
        assert same(open_checkpoint(path, key), SLOWFAST)
    with pytest.raises(UsageError, match="several networks at 'state_dict'"):
        open_checkpoint(path, "state_dict")
    path = saved(tmp_path / "y.ckpt", {"a": dict(SLOWFAST), "b": moved(SLOWFAST)})
    with pytest.raises(UsageError, match="one of: a, b"):
        open_checkpoint(path)


def test_a_container_that_holds_itself_ends(tmp_path: Path) -> None:
    content: dict[str, Any] = {"state_dict": dict(SLOWFAST)}
    content |= {f"again{number}": content for number in range(2000)}
    assert same(open_checkpoint(saved(tmp_path / "x.pt", content)), SLOWFAST)


def of_library(monkeypatch: pytest.MonkeyPatch, name: str, base: type = object) -> type:
    """A class as if of a library that is not installed, which says so when one of it is made."""
    module, _, own = name.rpartition(".")
    parts = module.split(".")
    for number in range(1, len(parts) + 1):
        path = ".".join(parts[:number])
        monkeypatch.setitem(sys.modules, path, types.ModuleType(path))

    def run(*_: Any) -> None:
        raise AssertionError("code of the library was run")

    body = {"__module__": module, "__setstate__": run, "__getstate__": lambda self: self.__dict__}
    made = type(own, (base,), body)
    setattr(sys.modules[module], own, made)
    return made


def history(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Numbers of a training, and the class's own methods that summarise them."""
    kind = of_library(monkeypatch, "mmengine.logging.history_buffer.HistoryBuffer")
    made: Any = kind()
    made._log_history, made.statistics = np.zeros(3), {"mean": Call(getattr, kind, "__init__")}
    return {"log_scalars": collections.OrderedDict(loss=made)}


COMPANY: dict[str, Callable[[pytest.MonkeyPatch], Any]] = {
    "numbers of numpy": lambda _: [np.float64(0.7), np.float32(0.7), np.int64(3), np.bool_(True)],
    "arrays of numpy": lambda _: np.arange(6, dtype="f4").reshape(2, 3),
    "state of a random generator": lambda _: np.random.RandomState(0).get_state(),
    "records": lambda _: argparse.Namespace(lr=1, out=Path("/x"), a=types.SimpleNamespace(a=np.float64(1))),
    "paths": lambda _: {"best": Path("/x/y.ckpt")},
    "times": lambda _: [datetime.datetime(2026, 1, 2), datetime.timedelta(1)],
    "queues": lambda _: collections.deque([1, 2], maxlen=2),
    "dicts that make their values": lambda _: collections.defaultdict(list, a=[1]),
    "mmengine's log": history,
    "mmengine's settings": lambda patch: of_library(patch, "mmengine.config.config.ConfigDict", dict)(a=1),
    "Lightning's settings": lambda patch: of_library(
        patch, "lightning.fabric.utilities.data.AttributeDict", dict)(lr=0.1),
}  # fmt: skip


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", COMPANY)
def test_records_beside_the_network_are_no_obstacle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str, zipped: bool
) -> None:
    path, record = tmp_path / "epoch_3.pth", COMPANY[what](monkeypatch)
    content = {"before": record, "state_dict": SLOWFAST, "after": [record]}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    assert same(open_checkpoint(path), SLOWFAST)


def test_a_network_in_a_dict_of_a_library_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = of_library(monkeypatch, "pytorch_lightning.utilities.parsing.AttributeDict", dict)
    assert same(open_checkpoint(saved(tmp_path / "x.ckpt", kind(state_dict=SLOWFAST))), SLOWFAST)


def test_an_array_of_numpy_in_the_network_is_told(tmp_path: Path) -> None:
    state = {**SLOWFAST, "head.projection.bias": np.zeros(7)}
    with pytest.raises(DataError, match=r"'head\.projection\.bias' is no tensor but "):
        open_checkpoint(saved(tmp_path / "x.pyth", state))


@pytest.mark.parametrize(("content", "told"), [
    ([1], "no state of a network but one list of 1; save the network's"),
    (3, "no state of a network but one int; save"),
    ({}, "no state of a network but one dict of 0; save"),
    ({"epoch": 3, "optimizer": {"state": {}}}, "no X3D that is known; it has: epoch, optimizer; save"),
    ({"state_dict": {"layer1.0.conv1.weight": torch.zeros(1)}}, None),
])  # fmt: skip
def test_a_checkpoint_without_an_x3d_is_told_in_one_line(
    tmp_path: Path, content: object, told: str | None
) -> None:
    path = saved(tmp_path / "x.pth", content)
    other = "no X3D of slowfast, .*its keys are layer1"
    with pytest.raises(DataError, match=told or other) as error:
        load_foreign(path, SMALL)
    assert str(error.value).startswith(f"{path}: ")
    assert "\n" not in str(error.value)
    if isinstance(content, dict) and content:
        with pytest.raises(UsageError, match=r"no state at 'ema'; it has: "):
            open_checkpoint(path, "ema")


# --- what must not run ---


class Call:
    """Unpickled without care, this calls a function."""

    def __init__(self, function: Callable[..., Any], *args: Any) -> None:
        self.call = (function, args)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def hostile(target: Path) -> dict[str, tuple[Any, str | None]]:
    """Objects that make `target` when they are run, and the name that is told, if one is."""
    touch = f"import pathlib; pathlib.Path({str(target)!r}).touch()"
    return {
        "exec": (Call(exec, touch), "exec"),
        "os.system": (Call(os.system, f"touch {target}"), "posix.system"),
        "a method": (Call(Path.touch, target), None),
        "a copy": (Call(shutil.copy, "/dev/null", target), "shutil.copy"),
        "a function in a record": (argparse.Namespace(run=Call(exec, touch)), "exec"),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("what", hostile(Path("x")))
def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, what: str, zipped: bool) -> None:
    target = tmp_path / "owned"
    thing, name = hostile(target)[what]
    free = set(torch.serialization.get_safe_globals())
    path = tmp_path / "x.pth"
    torch.save({"state_dict": SLOWFAST, "extra": thing}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(DataError) as error:
        open_checkpoint(path)
    told = f"the object {name} is in it (nothing of it was run); save the network's"
    assert (told if name else "more than tensors are in it (nothing of it was run)") in str(error.value)
    assert "\n" not in str(error.value)
    assert not target.exists()
    assert set(torch.serialization.get_safe_globals()) == free  # nobody else's files are read more freely
    torch.load(path, weights_only=False)
    assert target.exists()  # it would have worked


def test_a_network_saved_whole_is_told_with_its_class_and_the_remedy(tmp_path: Path) -> None:
    path = saved(tmp_path / "whole.pt", ours(SMALL))
    with pytest.raises(DataError, match=r"object expander\.model\.network\.X3D .*; save the network's"):
        open_checkpoint(path)


# --- the commands ---


def test_import_and_test_take_the_network_at_the_key(expander: Run, tmp_path: Path) -> None:
    spec = SMALL.with_classes(2)
    state = to_library(ours(spec), spec, LIBRARIES["slowfast"])
    average = {f"_orig_mod.module.{key}": value for key, value in state.items()}
    content = {"model_state": moved(state), "model_ema": average, "args": argparse.Namespace(a=1)}
    saved(tmp_path / "x.pth", content)
    done = expander("weights", "import", "x.pth", "--key", "model_ema", "--out", "x.safetensors")
    assert done.returncode == 0, done.stderr
    assert "taken from" not in done.stderr
    for name, value in load_weights(tmp_path / "x.safetensors").network.state_dict().items():
        assert torch.equal(value, ours(spec).state_dict()[name])
    unnamed = expander("weights", "import", "x.pth", "--out", "y.safetensors")
    assert (unnamed.returncode, "--key takes another: model_ema" in unnamed.stderr) == (0, True)
    wrong = expander("weights", "import", "x.pth", "--key", "ema", "--out", "z.safetensors")
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert "--key names one of: model_state, model_ema" in wrong.stderr
    notes: list[str] = []
    loaded = load_foreign(tmp_path / "x.pth", spec, "model_ema", notes.append)
    assert torch.equal(loaded.network.head.fc2.bias, ours(spec).head.fc2.bias)
    load_foreign(tmp_path / "x.pth", spec, None, notes.append)
    assert notes == [f"{tmp_path / 'x.pth'}: taken from model_state; --key takes another: model_ema"]
    ours_already = expander("test", "x3d_s", "x.safetensors", "--key", "model_ema")
    assert ours_already.returncode == 2
    assert "--key model_ema: x.safetensors is ours" in ours_already.stderr
