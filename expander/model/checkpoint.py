"""Opens the checkpoints of other libraries without running what is in them.

`torch.load(weights_only=True)` and nothing else: a file that needs more than tensors and plain values
is refused. Safetensors files are read too.
"""

from __future__ import annotations

import hashlib
import pickle
import struct
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from expander.errors import DataError, EnvironmentFault
from expander.memory import out_of_memory

CONTAINERS = ("model_state", "state_dict", "model_state_dict", "model")
"""Keys under which libraries keep the state, beside optimizer, epoch and configuration."""
PREFIXES = ("module.", "model.")
"""What wrappers put before every key: DistributedDataParallel, SlowFast around PyTorchVideo."""

DAMAGE = (pickle.UnpicklingError, struct.error, RuntimeError, EOFError, LookupError, ValueError, TypeError,
          AttributeError, AssertionError, OverflowError, OSError)  # fmt: skip
"""What torch.load raises for a foreign or damaged file, each a page long; tried on thousands of them."""


def sha256_of(path: Path) -> str:
    """Of a file's content. Raises DataError when it cannot be read."""
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    return digest.hexdigest()


def open_checkpoint(path: Path) -> dict[str, Tensor]:
    """The state in a checkpoint, without container and prefixes, as dense tensors on the CPU.

    Raises DataError for a file that is damaged, holds more than tensors, or holds no state.
    """
    state = _state(path, _read(path))
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise DataError(f"{path}: {name!r} is no tensor but {type(value).__name__}")
        if value.layout != torch.strided or value.is_quantized:
            raise DataError(f"{path}: {name!r} is sparse or quantised; save it as a dense float tensor")
    return _stripped(state)


def _read(path: Path) -> Any:
    sha256_of(path)  # says it in one line when the file is not there
    try:
        if path.suffix == ".safetensors":
            return load_safetensors(path.read_bytes())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, of its own storages and of pickles it distrusts
            return torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, MemoryError, *DAMAGE) as error:
        raise _told(path, error) from None


def _told(path: Path, error: Exception) -> DataError | EnvironmentFault:
    """The error in one line."""
    if out_of_memory(error):
        size = f"{path.stat().st_size / 1e6:.0f} MB"
        return EnvironmentFault(f"{path}: there is not enough memory to read it ({size}), or it is damaged")
    if path.suffix == ".safetensors":
        return DataError(f"{path}: damaged, or no safetensors file: {_first_line(error)}")
    return DataError(f"{path}: no checkpoint that can be trusted: damaged, or more than tensors are in it "
                     "(nothing of it was run)")  # fmt: skip


def _first_line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0][:120]


def _state(path: Path, content: Any) -> Mapping[str, Any]:
    if isinstance(content, Mapping):
        for key in CONTAINERS:
            if isinstance(content.get(key), Mapping):
                content = content[key]
                break
    if not isinstance(content, Mapping) or not content or not all(isinstance(k, str) for k in content):
        raise DataError(f"{path}: holds no state of a network (looked for {', '.join(CONTAINERS)})")
    return content


def _stripped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found = dict(state)
    for prefix in PREFIXES:
        if all(name.startswith(prefix) for name in found):
            found = {name.removeprefix(prefix): value for name, value in found.items()}
    return found
