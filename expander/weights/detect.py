"""Which library a state is from, and which Spec its tensors' shapes are of.

Tensors show widths, depths, bottleneck, hidden layer and classes; they do not show the clip: X3D-XS, S
and M have the same tensors. Frames, stride and crop are taken from a published network of these
sizes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

from torch import Tensor

from expander.config.space import published_specs
from expander.errors import DataError, UsageError
from expander.specs.spec import Base, Spec
from expander.weights.key_map import LIBRARIES, Library


@dataclass(frozen=True, slots=True)
class Detected:
    """alike: published networks with these tensors, the one taken first; none: a spec of its own."""

    spec: Spec
    alike: tuple[str, ...]


def library_of(state: Mapping[str, Tensor], where: str) -> Library:
    """The library whose stem the keys name. Raises DataError for another."""
    for library in LIBRARIES.values():
        if all(key in state for key in library.anchors):
            return library
    shown = ", ".join(sorted(state)[:3])
    known = ", ".join(LIBRARIES)
    raise DataError(f"{where}: no X3D of {known}: its keys are {shown}, …; --from names the library")


def spec_of(state: Mapping[str, Tensor], library: Library, where: str) -> Detected:
    """The Spec of a state by its shapes; `where` is the file, whose name may tell X3D-S from M.

    Raises DataError when a layer is missing, UsageError for sizes that no Spec has.
    """
    try:
        seen, classes = _sizes(state, library)
    except KeyError as error:
        raise DataError(f"{where}: not an X3D of {library.name}: no {error.args[0]}; "
                        "save the state_dict() of the whole network") from None  # fmt: skip
    alike = [name for name, spec in published_specs().items() if _network_of(spec) == seen]
    if not alike:
        return Detected(_own(seen, classes, where), ())
    file = where.lower().replace("-", "_")
    chosen = max((name for name in alike if name in file), key=len, default=alike[0])
    rest = (name for name in alike if name != chosen)
    return Detected(published_specs()[chosen].with_classes(classes), (chosen, *rest))


class _Network(NamedTuple):
    """What the tensors show of a Spec, besides the classes."""

    stem: int
    widths: tuple[int, ...]
    inner: tuple[int, ...]
    depths: tuple[int, ...]
    hidden: int


def _network_of(spec: Spec) -> _Network:
    return _Network(spec.stem_width, spec.widths, spec.inner_widths, spec.depths, spec.base.head_width)


def _key(library: Library, part: str, stage: int, block: int) -> str:
    return f"{library.module(part, stage, block)}.weight"


def _sizes(state: Mapping[str, Tensor], library: Library) -> tuple[_Network, int]:
    """The network, and the number of classes."""
    stages = range(next(n for n in count() if _key(library, "conv_a", n, 0) not in state))
    depths = (next(n for n in count() if _key(library, "conv_a", stage, n) not in state) for stage in stages)
    down = [state[_key(library, "conv_c", stage, 0)].shape for stage in stages]
    network = _Network(
        stem=state[_key(library, "stem.conv_t", 0, 0)].shape[0],
        widths=tuple(shape[0] for shape in down),
        inner=tuple(shape[1] for shape in down),
        depths=tuple(depths),
        hidden=state[_key(library, "head.fc1", 0, 0)].shape[0],
    )
    return network, state[_key(library, "head.fc2", 0, 0)].shape[0]


def _own(seen: _Network, classes: int, where: str) -> Spec:
    """A Spec of these sizes with a clip of 16x5 at 224 pixels."""
    spec = None
    with contextlib.suppress(ValueError, IndexError, ZeroDivisionError):  # of sizes that no network has
        base = Base(16, 5, 224, seen.stem, seen.depths, seen.hidden, classes, width_divisor=1)
        spec = Spec(base, bottleneck=round(seen.inner[-1] / seen.widths[-1] + 5e-7, 6))
    if spec is None or _network_of(spec) != seen:
        raise UsageError(
            f"{where}: widths {seen.widths} with inner {seen.inner} follow no Spec (each stage twice the "
            "one before, one bottleneck factor); give its spec with --spec"
        )
    return spec
