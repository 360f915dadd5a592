"""SearchSpace: where a search starts, how each axis steps, how far it may go, how trials train."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

import yaml
from pydantic import ConfigDict

from expander.config.settings import STRICT, Recipe
from expander.config.strict_yaml import Position, build, did_you_mean, read, read_yaml
from expander.errors import UsageError
from expander.specs.spec import AXES, MOST, Base, Spec, shown


def _up_to(value: float) -> str:
    """The end of an error line, where a value is too large."""
    return f", up to {MOST:g}, not {shown(value)}" if value > MOST else ""


@dataclass(frozen=True, slots=True)
class AxisRule:
    """One axis: `step` is the published factor of an expansion, or `solve` (from the step's cost).

    limit: the largest value of the axis's factor.
    """

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    step: float | Literal["solve"]
    limit: float

    def __post_init__(self) -> None:
        if self.step != "solve" and not 1 < self.step <= MOST:
            raise ValueError(f"step must be a number above 1, or solve{_up_to(self.step)}")
        if not 1 <= self.limit <= MOST:
            raise ValueError(f"limit must be a number of at least 1{_up_to(self.limit)}")


def _check_network(what: str, base: Spec, limits: dict[str, float]) -> None:
    try:
        replace(base, **limits)  # type: ignore[arg-type]
    except ValueError as error:
        raise ValueError(f"{what} no network: {error}; lower the limit") from None


@dataclass(frozen=True, slots=True)
class SearchSpace:
    """Base network, axes with their rules, and the proxy recipe; one YAML file."""

    __pydantic_config__: ClassVar[ConfigDict] = STRICT
    axes: dict[str, AxisRule]
    base: Base = field(default_factory=Base)
    step_factor: float = 2.0
    proxy: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        for axis in self.axes:
            if axis not in AXES:
                raise ValueError(f"axes.{axis} is unknown{did_you_mean(axis, AXES)}")
        if not self.axes:
            raise ValueError("axes must name at least one axis")
        if not 1 < self.step_factor <= MOST:
            raise ValueError(f"step_factor must be a number above 1{_up_to(self.step_factor)}")
        limits = {axis: rule.limit for axis, rule in self.axes.items()}
        for axis, limit in limits.items():
            _check_network(f"axes.{axis}.limit {limit:g} makes", Spec(self.base), {axis: limit})
        _check_network("axes at their limits make", Spec(self.base), limits)

    @property
    def start(self) -> Spec:
        """The base spec: every factor 1."""
        return Spec(self.base)


def _folder(name: str = "search_spaces") -> Path:
    """search_spaces/ or recipes/: beside the package in a checkout, inside it once installed."""
    package = Path(__file__).parent.parent
    return package / name if (package / name).is_dir() else package.parent / name


def _find(name: str, folder: Path, what: str) -> Path:
    if name.endswith((".yaml", ".yml")):
        return Path(name)
    known = {path.stem: path for path in sorted(folder.glob("*.yaml"))}
    if name not in known:
        hint = did_you_mean(name, known)
        raise UsageError(f"unknown {what} {name!r}{hint} (or give a .yaml file)")
    return known[name]


def space_file(name: str) -> Path:
    """The YAML file of a space: a name (`x3d`) or a path. Raises UsageError for an unknown name."""
    return _find(name, _folder(), "search space")


def recipe_file(name: str) -> Path:
    """The YAML file of a training recipe: a name (`x3d`) or a path. Raises UsageError for an unknown name."""
    return _find(name, _folder("recipes"), "recipe")


def load_space(name: str) -> SearchSpace:
    """A space by name or file. Raises UsageError with file:line:column."""
    value, places = read_yaml(space_file(name))
    rest, _, _ = split_selection(value, places)
    return build(SearchSpace, rest, places)


def split_selection(value: Any, places: Position) -> tuple[Any, Any, Position]:
    """A space's YAML without its section `selection`, that section ({} without one), and its places.

    How a step is decided is no part of the space, but a space may say what suits it.
    """
    if not isinstance(value, dict) or "selection" not in value:
        return value, {}, {}
    rest = {key: item for key, item in value.items() if key != "selection"}
    below = {path[1:]: place for path, place in places.items() if path[:1] == ("selection",)}
    return rest, value["selection"], below


def load_spec(name: str) -> Spec:
    """A published spec (`x3d_s`) or a YAML file. Raises UsageError with file:line:column."""
    return read(Spec, _find(name, _folder() / "zoo", "spec"))


def published_specs() -> dict[str, Spec]:
    """Every published spec by name, the smallest first."""
    names = ("x2d", "x3d_xs", "x3d_s", "x3d_m", "x3d_l", "x3d_xl")
    return {name: load_spec(name) for name in names}


def dump_spec(spec: Spec, comment: str) -> str:
    """A spec as YAML that `load_spec` reads, with a comment on top."""
    data = asdict(spec)
    data["base"]["depths"] = list(spec.base.depths)
    return f"# {comment}\n" + yaml.safe_dump(data, sort_keys=False, default_flow_style=None)
