"""Weights of a network as safetensors, with the spec, the class names and a checksum in the header."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import Field, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from expander.config.bounds import MOST
from expander.config.settings import Task
from expander.config.space import published_specs
from expander.errors import DataError, UsageError, first_line
from expander.model.detector import network_of
from expander.model.network import X3D
from expander.runs.journal import write_atomic
from expander.specs.spec import Spec
from expander.weights.checkpoint_file import sha256_of
from expander.weights.convert import blank, check_finite, differences, misfits

KEY = "expander"
KINDS = {torch.float32: "F32", torch.int64: "I64"}


@dataclass(frozen=True, slots=True)
class Header:
    """What the file says of itself. sha256: of all else in the file. source: of an import.

    multi_label: whether each class is a question of its own, answered by a sigmoid; task: what the network is
    for; dilation: of its last stage. They are said only where they are not usual, as files did before there
    were others.
    """

    spec: Spec
    classes: tuple[str, ...]
    sha256: str = ""
    source: dict[str, str] = field(default_factory=dict)
    multi_label: bool = False
    task: Task = "classification"
    dilation: Annotated[int, Field(ge=1, le=MOST["dilation"].value)] = 1

    def said(self) -> str:
        """As text."""
        told = asdict(self)
        usual = {"multi_label": False, "task": "classification", "dilation": 1}
        for name in (name for name, value in usual.items() if told[name] == value):
            del told[name]
        return json.dumps(told, sort_keys=True)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A network ready to be used (evaluation mode). sha256: of the file. multi_label, task: see `Header`."""

    network: X3D
    spec: Spec
    classes: tuple[str, ...]
    sha256: str
    source: dict[str, str]
    multi_label: bool = False
    task: Task = "classification"


def save_weights(
    path: Path, network: X3D, spec: Spec, classes: tuple[str, ...], source: Mapping[str, str] | None = None,
    multi_label: bool = False, task: Task = "classification",
) -> None:  # fmt: skip
    """Writes the state of `network`, whole or not at all. Raises EnvironmentFault."""
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    header = Header(spec, classes, "", dict(source or {}), multi_label, task, network.dilation)
    header = replace(header, sha256=_digest(header, state))
    # One entry: the library writes several in an order that changes from call to call.
    write_atomic(path, save(state, {KEY: header.said()}))


def load_weights(
    path: Path, spec: Spec | None = None, task: Task | None = "classification"
) -> Loaded:  # fmt: skip
    """The network in a file that `save_weights` wrote; `spec`: what it must be, if that is known.

    task: what it must be for; none: anything.

    Keys, shapes and kinds are checked before a tensor is read. Raises DataError for a file that is
    damaged or not ours, UsageError for weights of another spec.
    """
    digest = sha256_of(path)
    try:
        with safe_open(path, framework="pt") as file:
            header = _header(path, file.metadata())
            if task not in (None, header.task):
                raise UsageError(f"{path}: a network for {header.task}, used for {task}: see --task")
            wanted = spec.with_classes(header.spec.base.classes) if spec else header.spec
            names = list(file.keys())
            _check(path, {name: file.get_slice(name) for name in names}, header.spec, wanted)
            state = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise DataError(f"{path}: damaged, or no safetensors file ({first_line(error, 100)}); "
                        "expander weights import reads checkpoints of other libraries") from None  # fmt: skip
    if _digest(header, state) != header.sha256:
        raise DataError(f"{path}: damaged: it does not have the checksum in its header")
    check_finite(path, state)
    with torch.device("meta"):
        network = network_of(wanted, header.task, dilation=header.dilation)
    network.load_state_dict(state, assign=True)
    return Loaded(network.eval(), wanted, header.classes, digest, header.source, header.multi_label,
                  header.task)  # fmt: skip


def _header(path: Path, metadata: Mapping[str, str] | None) -> Header:
    try:
        text = (metadata or {})[KEY]
        header: Header = TypeAdapter(Header).validate_json(text, strict=True)
    except KeyError:
        raise DataError(f"{path}: no weights of expander; expander weights import may read them") from None
    except ValidationError as error:
        raise DataError(f"{path}: its header is damaged: {error.errors()[0]['msg']}") from None
    if len(header.classes) != header.spec.base.classes:
        raise DataError(f"{path}: {len(header.classes)} class names for {header.spec.base.classes} classes")
    return header


def _check(path: Path, found: dict[str, Any], said: Spec, wanted: Spec) -> None:
    """found: slices of the tensors. Raises UsageError for another network, DataError for another kind."""
    expected, classes = blank(wanted), said.base.classes
    shapes = {name: tuple(part.get_shape()) for name, part in found.items()}
    if wrong := differences(shapes, expected) or misfits(shapes, expected):
        known = {name: blank(spec.with_classes(classes)) for name, spec in published_specs().items()}
        fits = [name for name, state in known.items() if shapes == {key: t.shape for key, t in state.items()}]
        hint = f"; they are of {' or '.join(fits)}" if fits else f"; they are of {said}"
        raise UsageError(f"{path}: not the weights of {wanted}: {wrong}{hint}")
    for name, part in found.items():
        if (kind := part.get_dtype()) != KINDS[expected[name].dtype]:
            raise DataError(f"{path}: {name} is {kind}, not {KINDS[expected[name].dtype]}")


def _digest(header: Header, state: Mapping[str, Tensor]) -> str:
    """SHA-256 over the rest of the header, and the tensors by name: kind, shape, bytes."""
    digest = hashlib.sha256(replace(header, sha256="").said().encode())
    for name in sorted(state):
        value = state[name].contiguous()
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()
