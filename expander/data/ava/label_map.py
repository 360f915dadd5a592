"""The names and ids of actions: AVA's label map (pbtxt)."""

from __future__ import annotations

import re
from pathlib import Path

from expander.data.ava.rows import MOST_CLASSES
from expander.data.rows import read_text
from expander.errors import DataError

FIELD = re.compile(r"""(name|id|label_id|label_type)\s*:\s*("[^"]*"|'[^']*'|[-\w]+)""")
"""What an item may hold. label_type is AVA's own (of a person, of an object, of two people) and not used."""
TOKEN = re.compile(rf"(?:item|label)\s*(?::\s*)?{{|}}|{FIELD.pattern}|#.*|\S+")


def read_label_map(file: Path) -> dict[int, str]:
    """Names by id, in the order of the ids.

        item { name: "stand" id: 12 }            or   label { name: "stand" label_id: 12 label_type: … }

    Raises DataError with file:line: an item without name or id, an id or a name twice, an id that is no
    whole number from 1 on, an item that does not end, anything else.
    """
    found: dict[int, str] = {}
    item: dict[str, str] | None = None
    begun = 1
    for number, line in enumerate(read_text(file).split("\n"), 1):
        place = f"{file}:{number}"
        for match in TOKEN.finditer(line):
            token = match[0]
            if token.endswith("{"):
                if item is not None:
                    raise DataError(f"{file}:{begun}: the item does not end with }} before the next begins")
                item, begun = {}, number
            elif token == "}" and item is not None:
                _add(found, item, f"{file}:{begun}")
                item = None
            elif match[1] and item is not None:
                item[match[1].removeprefix("label_") if match[1] == "label_id" else match[1]] = match[2]
            elif not token.startswith("#"):
                raise DataError(f'{place}: expected item {{ name: "…" id: 1 }}, found {line.strip()[:200]!r}')
    if item is not None:
        raise DataError(f"{file}:{begun}: the item does not end with }}")
    if not found:
        raise DataError(f"{file}: has no items")
    return dict(sorted(found.items()))


def _add(found: dict[int, str], item: dict[str, str], place: str) -> None:
    """Takes an item in. Raises DataError."""
    missing = [name for name in ("name", "id") if name not in item]
    if missing:
        raise DataError(f"{place}: the item has no {' and no '.join(missing)}")
    text, name = item["id"], item["name"].strip("\"'")
    if not re.fullmatch("[0-9]{1,9}", text) or not 1 <= int(text) <= MOST_CLASSES:
        said = f"must be a whole number from 1 to {MOST_CLASSES}"
        raise DataError(f"{place}: the id of {name!r} {said}, not {text}")
    if int(text) in found:
        raise DataError(f"{place}: the id {text} of {name!r} is that of {found[int(text)]!r} before")
    if name in found.values():
        raise DataError(f"{place}: the name {name!r} is there before")
    found[int(text)] = name
