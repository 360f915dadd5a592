"""Which library a state is from, and which Spec its tensors' shapes are of.

Tensors show widths, depths, bottleneck, hidden layer and classes; they do not show the clip: X3D-XS, S
and M have the same tensors. Frames, stride and crop are taken from a published network of these
sizes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

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
        seen = _sizes(state, library)
    except KeyError as error:
        raise DataError(f"{where}: not an X3D of {library.name}: no {error.args[0]}; "
                        "save the state_dict() of the whole network") from None  # fmt: skip
    alike = [name for name, spec in published_specs().items() if _network(spec) == seen.network]
    named = sorted(alike, key=lambda name: (name not in where.lower().replace("-", "_"), -len(name)))
    if alike:
        chosen = named[0] if named[0] in where.lower().replace("-", "_") else alike[0]
        rest = tuple(name for name in alike if name != chosen)
        return Detected(published_specs()[chosen].with_classes(seen.classes), (chosen, *rest))
    return Detected(_own(seen, where), ())


@dataclass(frozen=True, slots=True)
class _Sizes:
    stem: int
    widths: tuple[int, ...]
    inner: tuple[int, ...]
    depths: tuple[int, ...]
    hidden: int
    classes: int

    @property
    def network(self) -> tuple[object, ...]:
        return (self.stem, self.widths, self.inner, self.depths, self.hidden)


def _network(spec: Spec) -> tuple[object, ...]:
    return (spec.stem_width, spec.widths, spec.inner_widths, spec.depths, spec.base.head_width)


def _key(library: Library, part: str, stage: int, block: int) -> str:
    return f"{library.module(part, stage, block)}.weight"


def _sizes(state: Mapping[str, Tensor], library: Library) -> _Sizes:
    stages = 0
    while _key(library, "conv_a", stages, 0) in state:
        stages += 1
    depths = []
    for stage in range(stages):
        block = 0
        while _key(library, "conv_a", stage, block) in state:
            block += 1
        depths.append(block)
    down = [state[_key(library, "conv_c", stage, 0)].shape for stage in range(stages)]
    return _Sizes(
        stem=state[_key(library, "stem.conv_t", 0, 0)].shape[0],
        widths=tuple(shape[0] for shape in down),
        inner=tuple(shape[1] for shape in down),
        depths=tuple(depths),
        hidden=state[_key(library, "head.fc1", 0, 0)].shape[0],
        classes=state[_key(library, "head.fc2", 0, 0)].shape[0],
    )


def _own(seen: _Sizes, where: str) -> Spec:
    """A Spec of these sizes with a clip of 16x5 at 224 pixels."""
    spec = None
    with contextlib.suppress(ValueError, IndexError, ZeroDivisionError):  # of sizes that no network has
        base = Base(16, 5, 224, seen.stem, seen.depths, seen.hidden, seen.classes, width_divisor=1)
        spec = Spec(base, bottleneck=round(seen.inner[-1] / seen.widths[-1] + 5e-7, 6))
    if spec is None or _network(spec) != seen.network:
        raise UsageError(
            f"{where}: widths {seen.widths} with inner {seen.inner} follow no Spec (each stage twice the "
            "one before, one bottleneck factor); give its spec with --spec"
        )
    return spec
