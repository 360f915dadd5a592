"""YAML that refuses what it does not understand, and says where: file:line:column, did you mean.

Refused: duplicate and unknown keys, wrong types, Python tags, anchors and aliases (the alias bomb).
`1e-3` is the number 0.001, which YAML 1.1 reads as a string.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from expander.config.reading import read_text
from expander.errors import UsageError

T = TypeVar("T")
UNKNOWN_KEY = ("extra_forbidden", "unexpected_keyword_argument")
MOST_DIGITS = 1000
"""Python does not write longer numbers, which are a slip anyway."""
Position = dict[tuple[Any, ...], str]

_FLOAT = re.compile(r"[-+]?(\d[\d_]*\.?\d*|\.\d+)([eE][-+]?\d+)?$|[-+]?\.(inf|nan)$", re.IGNORECASE)


class _Loader(yaml.SafeLoader):
    """SafeLoader without aliases and with floats as people write them."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="aliases are not allowed", problem_mark=mark)
        return super().compose_node(parent, index)


def _whole(loader: _Loader, node: yaml.ScalarNode) -> int:
    if len(node.value) > MOST_DIGITS:
        problem = f"a number of {len(node.value)} digits"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
    return int(loader.construct_yaml_int(node))


_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.yaml_implicit_resolvers = {
    first: [rule for rule in rules if rule[0] != "tag:yaml.org,2002:float"]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def parse(text: str, source: str) -> tuple[Any, Position]:
    """The values of a YAML text, and the `source:line:column` of every key and item.

    Raises UsageError for a syntax error, a duplicate key, a tag or an alias.
    """
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        places: Position = {(): f"{source}:1:1"}
        _walk(node, (), source, places)
        value = None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        place = _place(source, error.problem_mark or error.context_mark)
        raise UsageError(f"{place}: {error.problem or error.context}") from None
    except RecursionError:
        raise UsageError(f"{source}:1:1: nested too deeply") from None
    except (yaml.YAMLError, ValueError) as error:
        raise UsageError(f"{source}:1:1: not YAML: {str(error).splitlines()[0]}") from None
    return value, places


def _place(source: str, mark: Any) -> str:
    return f"{source}:{mark.line + 1}:{mark.column + 1}" if mark else f"{source}:1:1"


def _walk(node: Any, path: tuple[Any, ...], source: str, places: Position) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[(*path, index)] = _place(source, item.start_mark)
            _walk(item, (*path, index), source, places)
    elif isinstance(node, yaml.MappingNode):
        for key, item in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise UsageError(f"{_place(source, key.start_mark)}: a key must be a plain word")
            below = (*path, key.value)
            if below in places:
                place = _place(source, key.start_mark)
                raise UsageError(f"{place}: key {key.value!r} is already set at {places[below]}")
            places[below] = _place(source, key.start_mark)
            _walk(item, below, source, places)


def build(kind: type[T], value: Any, places: Position) -> T:
    """`value` as a `kind`, types checked strictly; UsageError with the place of the first fault."""
    try:
        return pydantic.TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except pydantic.ValidationError as failure:
        raise UsageError(_explain(failure, kind, places)) from None
    except TypeError as error:
        raise UsageError(f"{places[()]}: {error}") from None


def _explain(failure: pydantic.ValidationError, kind: Any, places: Position) -> str:
    # An unknown key is usually the cause of the missing one next to it, so it is told first.
    first = min(failure.errors(), key=lambda fault: fault["type"] not in UNKNOWN_KEY)
    path = tuple(part for part in first["loc"] if not _is_union_tag(part))
    place = next(places[path[:n]] for n in range(len(path), -1, -1) if path[:n] in places)
    name = ".".join(map(str, path)) or getattr(kind, "__name__", "value")
    if first["type"] in UNKNOWN_KEY:
        known = _known_keys(kind, path[:-1])
        return f"{place}: unknown key {name!r}{did_you_mean(str(path[-1]), known)}"
    if first["type"] in ("missing", "missing_argument"):
        return f"{place}: {name!r} is missing"
    message = first["msg"].removeprefix("Value error, ")
    # A check of a whole object names the field at fault in its message: point at that field.
    fields = (tuple(word.strip("'\",:;").split(".")) for word in message.split())
    below = ((*path, *field[cut:]) for field in fields for cut in range(len(field)))
    place = next((places[key] for key in below if key != path and key in places), place)
    return f"{place}: {name}: {message[0].lower()}{message[1:]}"


def _is_union_tag(part: Any) -> bool:
    return isinstance(part, str) and (part == "float" or part.startswith("literal["))


def _known_keys(kind: Any, path: Iterable[Any]) -> list[str]:
    schema = pydantic.TypeAdapter(kind).json_schema()
    node: Mapping[str, Any] = schema
    for part in path:
        node = node.get("properties", {}).get(part) or node.get("additionalProperties") or {}
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
    if "$ref" in node:
        node = schema["$defs"][node["$ref"].rsplit("/", 1)[-1]]
    return sorted(node.get("properties", {}))


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or the list of what is known, for the end of an error line."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; known: {', '.join(known)}" if known else ""


def read_yaml(path: Path) -> tuple[Any, Position]:
    """`parse` of a file. Raises UsageError for a missing or faulty one."""
    try:
        text = read_text(path)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise UsageError(f"{path}: cannot be read: {reason}") from None
    return parse(text, str(path))


def read(kind: type[T], path: Path) -> T:
    """The `kind` written in a YAML file. Raises UsageError for a missing or faulty file."""
    return build(kind, *read_yaml(path))
