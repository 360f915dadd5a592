"""Opens the checkpoints of other libraries without running what is in them.

Tensors and plain values only; records of training libraries beside them are left blank (see unpickling),
and a file that needs more is refused. Safetensors files are read too.
"""

from __future__ import annotations

import pickle
import struct
import warnings
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from expander.config import reading
from expander.errors import DataError, EnvironmentFault, UsageError, disk_faults, first_line, out_of_memory
from expander.weights.state_dict import CONTAINERS, Network, find_network, unwrapped
from expander.weights.unpickling import load_plain, refused_object

PREFIXES = ("model.", "net.")
"""What wrappers put before every key: SlowFast around PyTorchVideo, Lightning's modules."""
ALONE = "save the network's state_dict() alone where it was trained"

DAMAGE = (pickle.UnpicklingError, struct.error, RuntimeError, EOFError, LookupError, ValueError, TypeError,
          AttributeError, AssertionError, OverflowError, OSError)  # fmt: skip
"""What torch.load raises for a foreign or damaged file, each a page long; tried on thousands of them."""


def sha256_of(path: Path) -> str:
    """Of a file's content. Raises DataError when it cannot be read."""
    with disk_faults(path, "read"):
        return reading.sha256_of(path)


def open_checkpoint(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """The state in a checkpoint, without container and prefixes, as dense tensors on the CPU.

    key: of the container, where it is not the usual one. Raises DataError for a file that is damaged,
    holds objects that may run, or holds no state; UsageError for a key that is not there.
    """
    return dict(open_network(path, key).state)


def open_network(path: Path, key: str | None = None) -> Network:
    """As open_checkpoint, with where the state was found."""
    content = _read(path)
    found = find_network(content, str(path), key) or Network(_stripped(_state(path, content, key)))
    for name, value in found.state.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{path}: {name!r} is no tensor but {type(value).__name__}")
        if value.layout != torch.strided or value.is_quantized:
            raise DataError(f"{path}: {name!r} is sparse or quantised; save it as a dense float tensor")
    return found


def _read(path: Path) -> Any:
    sha256_of(path)  # says it in one line when the file is not there
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own storages and of pickles it distrusts
            return load_plain(path)
    except (SafetensorError, MemoryError, *DAMAGE) as error:
        raise _told(path, error) from None


def _told(path: Path, error: Exception) -> DataError | EnvironmentFault:
    """The error in one line."""
    if out_of_memory(error):
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        return EnvironmentFault(f"{path}: there is not enough memory to read it ({size}), or it is damaged")
    if path.suffix == ".safetensors":
        return DataError(f"{path}: damaged, or no safetensors file: {first_line(error, 120)}")
    if "TorchScript" in str(error):
        return DataError(f"{path}: a TorchScript archive, which is a program; {ALONE}")
    if name := refused_object(error):
        return DataError(f"{path}: no checkpoint that can be trusted: the object {name} is in it "
                         f"(nothing of it was run); {ALONE}")  # fmt: skip
    return DataError(f"{path}: no checkpoint that can be trusted: damaged, or more than tensors are in it "
                     "(nothing of it was run)")  # fmt: skip


def _state(path: Path, content: Any, named: str | None) -> Mapping[str, Any]:
    """Of a network that is no library's X3D, to be told of by its keys."""
    if isinstance(content, Mapping):
        for key in CONTAINERS if named is None else (named,):
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
        else:
            if named is not None:
                raise UsageError(f"{path}: no state at {named!r}; it has: {_shown(content)}")
    if not isinstance(content, Mapping) or not content or not all(isinstance(k, str) for k in content):
        raise DataError(f"{path}: holds no state of a network but {_kind(content)}; {ALONE}")
    if not any(isinstance(value, Tensor) for value in content.values()):
        raise DataError(f"{path}: holds no X3D that is known; it has: {_shown(content)}; {ALONE}")
    return content


def _shown(content: Mapping[Any, Any]) -> str:
    """The first keys of a container."""
    names = [str(key)[:40] for key in content]
    return ", ".join(names[:5]) + (", …" if len(names) > 5 else "")


def _kind(content: Any) -> str:
    size = f" of {len(content)}" if isinstance(content, Sized) else ""
    return f"one {type(content).__name__}{size}"


def _stripped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = dict(unwrapped(state))
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found
