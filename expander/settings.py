"""From a space's YAML and `--set section.key=value` to checked settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from expander.config import BackendConfig, DataConfig, Selection
from expander.errors import UsageError
from expander.space import SearchSpace, space_file, split_selection
from expander.strict_yaml import Position, build, did_you_mean, parse, read_yaml

SECTIONS = {"selection": Selection, "data": DataConfig, "backend": BackendConfig}
SPACE_SECTIONS = ("proxy", "axes", "base", "step_factor")


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything that is set before a run begins."""

    space: SearchSpace
    selection: Selection
    data: DataConfig
    backend: BackendConfig


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
        values["selection"], where["selection"] = chosen, below
    for override in overrides:
        _override(override, values, where)
    built: dict[str, Any] = {name: build(kind, values[name], where[name]) for name, kind in SECTIONS.items()}
    return Settings(space=build(SearchSpace, value, positions), **built)


def _override(text: str, values: dict[str, Any], where: dict[str, Position]) -> None:
    source = f"--set {text}"
    name, equals, written = text.partition("=")
    path = tuple(name.strip().split("."))
    if not equals or not all(path):
        raise UsageError(f"{source}: write it as section.key=value")
    if path[0] in SECTIONS:
        section, path = path[0], path[1:]
    elif path[0] in SPACE_SECTIONS:
        section = "space"
    else:
        known = did_you_mean(path[0], [*SECTIONS, *SPACE_SECTIONS])
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
