"""A state of SlowFast, PyTorchVideo or MMAction2 to ours, and back.

Everything is checked before anything is returned: the keys, then the shapes (a 1x1x1 convolution and
a linear of the same size are the same tensor), then the kind of numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from expander.errors import DataError, ExpanderError, UsageError
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.weights.detect import spec_of
from expander.weights.key_map import Library, names

EPS = 1e-5  # of every batch norm of X3D
COUNTER = "num_batches_tracked"
FIRST = 5  # differing keys that an error names


def blank(spec: Spec) -> dict[str, Tensor]:
    """The tensors of the network of `spec`, without memory behind them: keys, shapes, kinds."""
    with torch.device("meta"):
        return X3D(spec).state_dict()


def differences(found: Iterable[str], wanted: Iterable[str]) -> str:
    """The first keys that only one side has, or an empty string."""
    have, want = set(found), set(wanted)
    missing, extra = sorted(want - have), sorted(have - want)
    parts = [("missing", missing), ("unknown", extra)]
    texts = [f"{len(keys)} {what}: {', '.join(keys[:FIRST])}" for what, keys in parts if keys]
    return "; ".join(texts)


def misfits(found: Mapping[str, tuple[int, ...]], wanted: Mapping[str, Tensor]) -> str:
    """The first tensors of another shape than `wanted`, or an empty string."""
    wrong = [name for name, shape in found.items() if _core(shape) != _core(tuple(wanted[name].shape))]
    texts = [f"{name} {tuple(found[name])} instead of {tuple(wanted[name].shape)}" for name in wrong[:FIRST]]
    return f"{len(wrong)} of another shape: {', '.join(texts)}" if wrong else ""


def _core(shape: tuple[int, ...]) -> tuple[int, ...]:
    """A shape without the ones at its end."""
    sizes = list(shape)
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes.pop()
    return tuple(sizes)


def to_ours(state: Mapping[str, Tensor], spec: Spec, library: Library, where: str) -> dict[str, Tensor]:
    """The library's state as that of `X3D(spec)`, in float32.

    Where PyTorchVideo has no batch norm, the identity. Raises UsageError naming the first keys that
    differ.
    """
    table, shapes = names(spec, library), blank(spec)
    counters = {theirs for theirs in table.values() if theirs.endswith(COUNTER)} - set(state)
    wrong = differences(set(state) | counters, table.values())
    kept = {ours: theirs for ours, theirs in table.items() if theirs not in counters}
    if not wrong:
        found = {theirs: tuple(state[theirs].shape) for theirs in kept.values()}
        wrong = misfits(found, {theirs: shapes[ours] for ours, theirs in kept.items()})
    if not wrong:
        unlike = [theirs for ours, theirs in kept.items()
                  if state[theirs].is_floating_point() != shapes[ours].is_floating_point()]  # fmt: skip
        wrong = f"{len(unlike)} of another kind of number: {', '.join(unlike[:FIRST])}" if unlike else ""
    if wrong:
        fits = _fits(state, library, where)
        raise UsageError(f"{where}: not the {library.name} weights of {spec}: {wrong}{fits}")
    ready = _identity(shapes, set(shapes) - set(kept))
    for ours, theirs in kept.items():
        ready[ours] = state[theirs].reshape(shapes[ours].shape).to(shapes[ours].dtype).contiguous()
    check_finite(where, {theirs: ready[ours] for ours, theirs in kept.items()})
    return ready


def check_finite(where: object, state: Mapping[str, Tensor]) -> None:
    """Raises DataError for the first tensor with a number that is none: every score would be none too."""
    for name, value in state.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            why = "its training diverged, or it is damaged; take an earlier checkpoint"
            raise DataError(f"{where}: {name} has numbers that are not finite (NaN, infinite): {why}")


def _fits(state: Mapping[str, Tensor], library: Library, where: str) -> str:
    """Which published networks the state is of, for the end of an error line."""
    try:
        alike = spec_of(state, library, where).alike
    except (ExpanderError, ValueError):  # not even the sizes of a network
        return ""
    return f"; they are of {' or '.join(alike)}" if alike else ""


def _identity(shapes: Mapping[str, Tensor], absent: set[str]) -> dict[str, Tensor]:
    """Batch norms that change nothing, and counters at 0."""
    values = {"weight": (1 + EPS) ** 0.5, "bias": 0.0, "running_mean": 0.0, "running_var": 1.0, COUNTER: 0}
    return {
        name: torch.full(shapes[name].shape, values[name.rpartition(".")[2]], dtype=shapes[name].dtype)
        for name in absent
    }


def to_library(network: X3D, spec: Spec, library: Library) -> dict[str, Tensor]:
    """The state of `network` under the library's names and in its shapes.

    What the library has no module for is folded into its neighbours: the same function in evaluation.
    """
    state = {name: value.detach().cpu().clone() for name, value in network.state_dict().items()}
    if library.absent:
        _fold(state)
    table = names(spec, library)
    return {theirs: _shaped(state[ours], ours, library) for ours, theirs in table.items()}


def _shaped(value: Tensor, ours: str, library: Library) -> Tensor:
    """The hidden layer of the head is a 1x1x1 convolution everywhere but in MMAction2."""
    conv = ours == "head.fc1.weight" and library.name != "mmaction2"
    return value[:, :, None, None, None] if conv else value


def _fold(state: dict[str, Tensor]) -> None:
    """The first stage's shortcut norm into its convolution and into the bias of the sum's other norm."""
    gamma, beta, mean, variance = (
        state[f"stages.0.0.shortcut.bn.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / (variance + EPS).sqrt()
    state["stages.0.0.shortcut.conv.weight"] *= scale[:, None, None, None, None]
    state["stages.0.0.bn_c.bias"] += beta - mean * scale
