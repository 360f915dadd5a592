"""From a space's or a recipe's YAML and `--set section.key=value` to checked settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expander.config.settings import BackendConfig, Budget, DataConfig, Selection, TrainRecipe
from expander.config.space import SearchSpace, recipe_file, space_file, split_selection
from expander.config.strict_yaml import Position, build, did_you_mean, parse, read_yaml
from expander.errors import UsageError

SECTIONS = {"selection": Selection, "data": DataConfig, "backend": BackendConfig, "budget": Budget}
SHOWN = 100
"""Characters of an override in an error line."""
SPACE_SECTIONS = ("proxy", "axes", "base", "step_factor")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is set before a run begins."""

    space: SearchSpace
    selection: Selection
    data: DataConfig
    backend: BackendConfig
    budget: Budget


def load_settings(
    space: str, overrides: Sequence[str], given: Mapping[str, Mapping[str, Any]]
) -> Settings:
    """The settings of a space with overrides on top.

    given: by section, what other options said; an override wins. Raises UsageError naming the
    file:line:column or the `--set` at fault.
    """
    whole, positions = read_yaml(space_file(space))
    value, chosen, below = split_selection(whole, positions)
    values: dict[str, Any] = {"space": value}
    where: dict[str, Position] = {"space": positions}
    for name in SECTIONS:
        values[name] = {k: v for k, v in given.get(name, {}).items() if v is not None}
        where[name] = {(): name}
    if below:
        where["selection"] = below
        values["selection"] = chosen | values["selection"] if isinstance(chosen, dict) else chosen
    for override in overrides:
        _override(override, values, where)
    built: dict[str, Any] = {name: build(kind, values[name], where[name]) for name, kind in SECTIONS.items()}
    return Settings(space=build(SearchSpace, value, positions), **built)


def load_training(
    recipe: str, overrides: Sequence[str], given: Mapping[str, Mapping[str, Any]],
    inherited: Mapping[str, Any] | None = None,
) -> tuple[TrainRecipe, DataConfig, BackendConfig]:
    """A training recipe (a name or a YAML file), data and backend settings, with overrides on top.

    given: by section (`train`, `data`, `backend`), what other options said; an override wins. inherited: what
    the recipe is where its file says nothing.
    Raises UsageError naming the file:line:column or the `--set` at fault.
    """
    value, places = read_yaml(recipe_file(recipe))
    if value is not None and not isinstance(value, dict):
        raise UsageError(f"{places[()]}: a recipe is lines of `key: value`")
    values: dict[str, Any] = {"train": {**(inherited or {}), **(value or {})}, "data": {}, "backend": {}}
    where: dict[str, Position] = {"train": places, "data": {(): "data"}, "backend": {(): "backend"}}
    for section, options in given.items():
        for key, option in options.items():
            if option is not None:
                values[section][key] = option
                where[section][(key,)] = f"--{key}"
    for override in overrides:
        _override(override, values, where)
    return (
        build(TrainRecipe, values["train"], where["train"]),
        build(DataConfig, values["data"], where["data"]),
        build(BackendConfig, values["backend"], where["backend"]),
    )


def _override(text: str, values: dict[str, Any], where: dict[str, Position]) -> None:
    source = f"--set {text if len(text) <= SHOWN else f'{text[:SHOWN]}…'}"
    name, equals, written = text.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise UsageError(f"{source}: write it as section.key=value")
    if path[0] in values and path[0] != "space":
        section, path = path[0], path[1:]
    elif path[0] in SPACE_SECTIONS and "space" in values:
        section = "space"
    else:
        own = [name for name in values if name != "space"]
        known = did_you_mean(path[0], [*own, *(SPACE_SECTIONS if "space" in values else ())])
        raise UsageError(f"{source}: unknown section {path[0]!r}{known}")
    if not path:
        raise UsageError(f"{source}: name a key of the section, {name}.key=value")
    parsed, _ = parse(written, source)
    node = values[section]
    for depth, part in enumerate(path[:-1], 1):
        if isinstance(node, dict) and part not in node:
            where[section][path[:depth]] = source
        node = node.setdefault(part, {}) if isinstance(node, dict) else {}
    if not isinstance(node, dict):
        raise UsageError(f"{source}: {'.'.join(path[:-1])} has no keys")
    node[path[-1]] = parsed
    where[section][path] = source
