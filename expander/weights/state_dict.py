"""Where in a checkpoint the network is: the container, the prefix of its keys, and what lies beside it.

Known by the names of a library's stem and first block, so that any container, wrapper and nesting will
do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from expander.errors import UsageError
from expander.weights.key_map import LIBRARIES, Library

CONTAINERS = ("model_state", "state_dict", "model_state_dict", "model", "net", "network", "weights",
              "network_state_dict")  # fmt: skip
"""Keys under which libraries keep the state; the first is taken where several hold a network."""
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
                      "_forward_module"})  # fmt: skip
"""Parts that wrappers put into keys, at any place: DistributedDataParallel, torch.compile and others."""
DEPTH = 3
"""Containers in containers that are looked into."""
SHOWN = 3


@dataclass(frozen=True, slots=True)
class Network:
    """state: of an X3D under its library's names. place: the container's key and the prefix, dotted.

    beside: keys of the container that are not of the network. others: places of other networks.
    """

    state: Mapping[str, Any]
    place: str = ""
    beside: tuple[str, ...] = ()
    others: tuple[str, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of the choice, a line each."""
        found = []
        if self.beside:
            more = ", …" if len(self.beside) > SHOWN else ""
            found.append(f"left out, as not of the network: {', '.join(self.beside[:SHOWN])}{more} "
                         f"({len(self.beside)})")  # fmt: skip
        if self.others:
            found.append(f"taken from {self.place}; --key takes another: {', '.join(self.others)}")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class _Place:
    container: str
    prefix: str
    library: Library
    state: Mapping[str, Any]  # without wrappers

    @property
    def name(self) -> str:
        return f"{self.container}.{self.prefix}".strip(".") or "the top"

    def network(self, others: tuple[str, ...]) -> Network:
        kept, beside = {}, []
        for key, value in self.state.items():
            name = key.removeprefix(self.prefix)
            if key.startswith(self.prefix) and self.library.owns(name):
                kept[name] = value
            else:
                beside.append(key)
        return Network(kept, self.name, tuple(beside), others)


def find_network(content: Any, where: str, key: str | None = None) -> Network | None:
    """The network in what a checkpoint holds; key: the container's, or the prefix; none where there is none.

    Raises UsageError where there are several and none is the usual one, or none at `key`.
    """
    places = list(_places(content, "", set()))
    if not places:
        return None
    names = [place.name for place in places]
    if key is not None:
        wanted = key.strip(".")
        named = [place for place in places if wanted == place.name]
        named = named or [place for place in places if wanted in (place.container, place.prefix.strip("."))]
        if len(named) != 1:
            problem = "several networks" if named else "no network"
            raise UsageError(f"{where}: {problem} at {key!r}; --key names one of: {', '.join(names)}")
        return named[0].network(())
    chosen = places[0] if len(places) == 1 else _usual(places)
    if chosen is None:
        raise UsageError(f"{where}: holds {len(places)} networks; --key names one of: {', '.join(names)}")
    return chosen.network(tuple(name for name in names if name != chosen.name))


def _usual(places: list[_Place]) -> _Place | None:
    """The network in the container that is named as libraries name it."""
    for name in CONTAINERS:
        found = [place for place in places if place.container == name]
        if found:
            return found[0] if len(found) == 1 else None
    return None


def _places(content: Any, container: str, seen: set[int], depth: int = 0) -> Iterator[_Place]:
    """Every network in a container and the containers in it. seen: those that were looked into."""
    if not isinstance(content, Mapping) or depth > DEPTH or id(content) in seen:
        return
    seen.add(id(content))
    texts = {key: value for key, value in content.items() if isinstance(key, str)}
    state = unwrapped(texts)
    for library in LIBRARIES.values():
        stem, block = library.anchors
        for key in state:
            prefix = key.removesuffix(stem)
            if key == prefix + stem and prefix + block in state and prefix[-1:] in ("", "."):
                yield _Place(container, prefix, library, state)
    for key, value in texts.items():
        yield from _places(value, f"{container}.{key}" if container else key, seen, depth + 1)


def unwrapped(state: Mapping[str, Any]) -> Mapping[str, Any]:
    """With keys as they were before wrappers; unchanged where two would be the same."""
    bare = {".".join(part for part in key.split(".") if part not in WRAPPERS): key for key in state}
    return {name: state[key] for name, key in bare.items()} if len(bare) == len(state) else state
