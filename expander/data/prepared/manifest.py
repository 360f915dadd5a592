"""What a folder of prepared videos holds, in files:

    manifest.parquet       a row a video, the damaged ones too; its metadata say how it was prepared
    train.txt, val.txt     lines `path label` (or `path label label …`), as every command reads them
    classes.txt            names of the classes
    damaged.csv            the sources that could not be prepared, with the reason
    videos/3f/NAME-….mp4   the videos, named by their listed paths
    train-000000.tar …     or the videos in shards, if they are wanted so
    prepare.json           how the videos are encoded, from the start on
    progress.jsonl         while it is being prepared: a line a finished video

A row is a video of the source's lists. Nothing in these files depends on when or in which order they came.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from io import BytesIO, StringIO
from pathlib import Path, PurePath
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from expander.config.reading import parse_json, read_bytes, read_text
from expander.data.annotations import Label, numbers_of
from expander.errors import DataError, EnvironmentFault
from expander.runs.journal import write_atomic
from expander.video.writing.encoder import Encoded

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = 1
NAME = "manifest.parquet"
SETTINGS = "prepare.json"
PROGRESS = "progress.jsonl"
DAMAGED = "damaged.csv"
FILES = (NAME, SETTINGS, DAMAGED, "train.txt", "val.txt", "classes.txt")
"""What is written whole or not at all."""
KEY = b"expander"
LONGEST = 80
"""Letters of a source's name in the name of its prepared video."""
KEY_LONGEST = 94
SEVERAL = "multi_label"
"""In the settings: whether videos have several labels each."""
NO_PLACES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Source:
    """A video as it is listed: its path from the data root, `folder`.

    name: what it is known by; the listed path, behind the split where the splits have roots of their own.
    """

    name: str
    listed: str
    folder: str
    label: Label
    split: str

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.folder, self.listed)

    @property
    def path(self) -> str:
        """Of its prepared video, in the folder of these: the same for the same listed path, and no other."""
        digest = hashlib.sha256(self.name.encode()).hexdigest()
        stem = "_".join(PurePath(self.name).with_suffix("").parts[-2:])  # of a class folder, its name too
        plain = re.sub(r"[^A-Za-z0-9._-]+", "_", stem).strip("._-")[-LONGEST:]
        return f"videos/{digest[:2]}/{plain}-{digest[:16]}.mp4"

    @property
    def key(self) -> str:
        """Of its sample in a shard: a key ends at the first dot, and a plain tar takes names of 100 bytes."""
        return PurePath(self.path).stem.replace(".", "_")[-KEY_LONGEST:].lstrip("_-")


def label_text(label: Label) -> str:
    """The class numbers of a video, one or more or none, as a list has them."""
    return " ".join(map(str, numbers_of(label)))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a source. reason: why it was not prepared; empty if it was.

    source_bytes, source_time: size and time of change (ns) of the source when it was prepared.
    """

    name: str
    source_bytes: int
    source_time: int
    reason: str = ""
    encoded: Encoded | None = None

    def line(self) -> str:
        """For the file of progress."""
        return json.dumps(asdict(self)) + "\n"


def outcome_of(line: str) -> Outcome:
    """A line of progress. Raises ValueError, KeyError or TypeError for one that was cut off."""
    found = parse_json(line)
    return Outcome(**found | {"encoded": Encoded(**found["encoded"]) if found["encoded"] else None})


def read_settings(folder: Path) -> dict[str, Any] | None:
    """How the videos of a folder are encoded; none where nothing was begun. Raises DataError."""
    try:
        found: dict[str, Any] = parse_json(read_text(folder / SETTINGS))
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise DataError(f"{folder / SETTINGS}: cannot be read: {error}") from None
    return found


def read_progress(folder: Path) -> Iterator[Outcome]:
    """What was finished so far, by runs that did not come to their end. Raises EnvironmentFault."""
    try:
        text = read_bytes(folder / PROGRESS).decode("utf-8", "replace")
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnvironmentFault(f"{folder / PROGRESS}: cannot be read: {error.strerror}") from None
    for line in text.splitlines():
        try:
            yield outcome_of(line)
        except (ValueError, KeyError, TypeError):  # cut off by a kill: that video is prepared again
            continue


def columns(
    sources: Sequence[Source], outcomes: dict[str, Outcome], places: Mapping[str, str] = NO_PLACES
) -> dict[str, list[Any]]:
    """What the manifest says, by column, in the order of the lists. places: see `write`."""
    rows = [outcomes[source.name] for source in sources]
    several = any(isinstance(source.label, tuple) for source in sources)
    found: dict[str, list[Any]] = {
        "path": [places.get(source.name, source.path) for source in sources],
        "label": [label_text(source.label) if several else source.label for source in sources],
        "split": [source.split for source in sources],
        "source": [source.name for source in sources],
        "reason": [row.reason for row in rows],
        "source_bytes": [row.source_bytes for row in rows],
        "source_time": [row.source_time for row in rows],
    }
    for name in (field.name for field in fields(Encoded)):
        found[name] = [None if row.encoded is None else getattr(row.encoded, name) for row in rows]
    return found


def write(
    folder: Path, sources: Sequence[Source], outcomes: dict[str, Outcome], classes: Sequence[str],
    head: dict[str, Any], places: Mapping[str, str] = NO_PLACES,
) -> None:  # fmt: skip
    """The manifest, the lists and the list of damaged sources; each file whole or not at all.

    places: of the videos that lie in shards, by the names of their sources.
    Raises EnvironmentFault.
    """
    damaged = [(source.name, source.split, outcomes[source.name].reason) for source in sources
               if outcomes[source.name].reason]  # fmt: skip
    lists = {"train.txt": "", "val.txt": "", "classes.txt": "".join(f"{name}\n" for name in classes)}
    for split in ("train", "val"):
        rows = (f"{places.get(source.name, source.path)} {label_text(source.label)}".rstrip()
                for source in sources if source.split == split)  # fmt: skip
        lists[f"{split}.txt"] = "".join(f"{row}\n" for row in rows)
    text = StringIO()
    csv.writer(text, lineterminator="\n").writerows([("source", "split", "reason"), *damaged])
    for name, content in {**lists, DAMAGED: text.getvalue()}.items():
        write_atomic(folder / name, content.encode())
    write_atomic(folder / NAME, table_bytes(columns(sources, outcomes, places), head))


def table_bytes(columns: dict[str, list[Any]], head: dict[str, Any]) -> bytes:
    """The manifest as a Parquet file. Its fingerprint: SHA-256 of paths, labels and contents."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    digest = hashlib.sha256()
    for row in zip(columns["path"], columns["label"], columns["split"], columns["sha256"], strict=True):
        digest.update(json.dumps(row).encode())
    told = {"schema": SCHEMA, **head, "fingerprint": digest.hexdigest()}
    table = pa.table(columns, schema=pa.schema([(name, _type(name, columns[name])) for name in columns]))
    out = BytesIO()
    table = table.replace_schema_metadata({KEY: json.dumps(told).encode()})
    pq.write_table(table, out, compression="zstd", use_dictionary=["split", "reason", "fps"],
                   write_page_checksum=True)  # fmt: skip
    return out.getvalue()


def _type(column: str, values: Sequence[Any]) -> Any:
    import pyarrow as pa

    if column == "mapping":
        return pa.list_(pa.int32())
    texts = ("path", "split", "source", "reason", "sha256", "source_sha256", "fps")
    several = column == "label" and any(isinstance(value, str) for value in values)
    return pa.string() if column in texts or several else pa.int64()


def read_head(folder: Path) -> dict[str, Any] | None:
    """How the videos of a folder were prepared; none where there is no manifest. Raises DataError."""
    if not (folder / NAME).is_file():
        return None
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        found: dict[str, Any] = parse_json((pq.read_schema(folder / NAME).metadata or {})[KEY])
        if found["schema"] > SCHEMA:
            raise DataError(f"{folder / NAME}: written by a newer expander; update it")
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        raise _damaged(folder) from None
    return found


def _damaged(folder: Path) -> DataError:
    return DataError(f"{folder / NAME}: damaged; delete it and prepare the videos again")


def read(folder: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """The manifest, all columns or some; texts stay as Arrow has them: a million rows take up to 0.7 GB.

    Raises DataError.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    if read_head(folder) is None:
        raise DataError(f"{folder}: no {NAME} in it")
    wanted = None if columns is None else list(columns)
    try:
        table = pq.read_table(folder / NAME, columns=wanted, page_checksum_verification=True)
    except (OSError, ValueError, pa.ArrowException):
        raise _damaged(folder) from None
    frame: pd.DataFrame = table.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def read_outcomes(folder: Path) -> Iterator[Outcome]:
    """What the manifest and the file of progress say of each source, the later one last. Raises DataError."""
    if read_head(folder) is not None:
        import pyarrow as pa

        try:
            yield from _manifest_outcomes(folder)
        except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
            raise _damaged(folder) from None
    yield from read_progress(folder)


def _manifest_outcomes(folder: Path) -> Iterator[Outcome]:
    import pyarrow.parquet as pq

    names = [field.name for field in fields(Encoded)]
    for batch in pq.ParquetFile(folder / NAME, page_checksum_verification=True).iter_batches():
        for row in batch.to_pylist():
            encoded = None if row["reason"] else Encoded(**{name: row[name] for name in names})
            yield Outcome(row["source"], row["source_bytes"], row["source_time"], row["reason"], encoded)
