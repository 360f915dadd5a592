"""What other commands left in a folder: baselines, full trainings, multi-view tests.

Unknown keys are ignored and missing ones shown as missing: a report is made of what is there. What is
damaged, or contradicts itself, is an error that names the file and its line.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import TypeAdapter, ValidationError

from expander.config.reading import parse_json, read_bytes
from expander.errors import DataError
from expander.report import schema
from expander.report.reader import History
from expander.report.schema import Row, spec_row
from expander.runs.checks import check_result
from expander.runs.events import from_json
from expander.runs.evidence import holds_credits
from expander.runs.journal import Run
from expander.runs.result_checks import check_metrics, check_test
from expander.runs.sealed_lines import RESTORE, SealedLines, opened_document
from expander.runs.trials import TrialResult
from expander.specs.cost import cost
from expander.specs.spec import Spec
from expander.training.training_folder import MEASURES

Place = Path | Run | History
SPEC = TypeAdapter(Spec)


def folder_of(place: Place) -> Path:
    """The folder of a run or of a training."""
    if isinstance(place, History):
        return place.run.folder
    return place.folder if isinstance(place, Run) else place


def name_of(place: Place) -> str:
    """The folder's own name."""
    return folder_of(place).resolve().name


def baselines(*runs: Place) -> pd.DataFrame:
    """One row a baseline of RUN/baselines.jsonl. Columns: `schema.BASELINES`."""
    rows = ({"run": name_of(run), **_baseline(found)} for run in runs
            for found in json_lines(folder_of(run) / "baselines.jsonl", _check_baseline))  # fmt: skip
    return schema.frame(rows, schema.BASELINES)


def _check_baseline(found: Mapping[str, Any]) -> None:
    """Raises ValueError for a result whose values cannot be."""
    if isinstance(found.get("result"), dict):
        try:
            result = from_json(TrialResult, json.dumps(found["result"]))
        except ValidationError:  # of another version: shown as far as it goes
            return
        check_result(result)


def _baseline(found: Mapping[str, Any]) -> Row:
    results = found.get("results") or found.get("result") or []
    results = [r for r in ([results] if isinstance(results, dict) else results) if isinstance(r, dict)]
    seconds = _numbers(r.get("seconds") for r in results)
    price = found.get("cost") if isinstance(found.get("cost"), dict) else {}
    assert isinstance(price, dict)
    return {
        **specified(found),
        "kind": found.get("kind"),
        "name": found.get("name") or found.get("kind"),
        **{column: price[key] for column, key in PRICES if number(price.get(key)) is not None},
        "seeds": len(results) or None,
        "measure": "mAP" if any(map(_has_credits, results)) else "accuracy" if results else None,
        "accuracy": _mean(r.get("accuracy") for r in results),
        "loss": _mean(r.get("loss") for r in results),
        "seconds": sum(seconds) if seconds else None,
    }


def _has_credits(result: Mapping[str, Any]) -> bool:
    """Whether a result says of each video what it gives to mAP."""
    packed, videos = result.get("correct"), result.get("videos")
    return isinstance(packed, str) and isinstance(videos, int) and holds_credits(packed, videos)


PRICES = (("cost", "macs"), ("params", "params"), ("activations", "activations"))


def trainings(*folders: Place) -> pd.DataFrame:
    """One row a folder with a training.json. Columns: `schema.TRAININGS`."""
    rows = []
    for folder in map(folder_of, folders):
        about = json_file(folder / "training.json")
        if about:
            metrics = json_lines(folder / "metrics.jsonl", check_metrics)
            rows.append({"run": name_of(folder), **_training(about, metrics)})
    return schema.frame(rows, schema.TRAININGS)


def _training(about: Mapping[str, Any], metrics: Iterable[Mapping[str, Any]]) -> Row:
    rows, measure = list(metrics), measure_of(about)
    validated = [row for row in rows if number(row.get(measure)) is not None]
    last = validated[-1] if validated else {}
    best = about.get("best") if isinstance(about.get("best"), dict) else {}
    assert isinstance(best, dict)
    speeds = [v for row in rows if (v := number(row.get("clips_per_second"))) is not None]
    return {
        **specified(about),
        "state": about.get("state"),
        "epochs": len(validated),
        "best_epoch": best.get("epoch"),
        f"best_{measure}": number(best.get("goodness", best.get("video_top1"))),
        measure: number(last.get(measure)),
        "val_loss": number(last.get("val_loss")),
        "clips_per_second": statistics.median(speeds) if speeds else None,
        "data_wait": _mean(row.get("data_wait") for row in rows),
    }


def measure_of(about: Mapping[str, Any]) -> str:
    """What a training's validations measure, by its training.json."""
    return MEASURES[bool(about.get("multi_label")) or about.get("task") == "detection"]


def test_files(place: Place) -> list[tuple[str, dict[str, Any]]]:
    """Name and content of every result in a folder's tests/, in the order of their names."""
    files = sorted((folder_of(place) / "tests").glob("*.json"))
    found = ((path.stem, json_file(path, check_test)) for path in files)
    return [(name, content) for name, content in found if content]


def tests(*runs: Place) -> pd.DataFrame:
    """One row a metric of every multi-view test. Columns: `schema.TESTS`."""
    rows = ({"run": name_of(run), "test": name, **row} for run in runs for name, found in test_files(run)
            for row in _test(found))  # fmt: skip
    return schema.frame(rows, schema.TESTS)


def _test(found: Mapping[str, Any]) -> Iterator[Row]:
    views, price = found.get("views"), found.get("cost")
    clips = [number(views.get(key)) for key in ("clips", "crops")] if isinstance(views, dict) else [None]
    head = {
        **specified(found),
        "protocol": found.get("protocol"),
        "views": int(clips[0] * clips[1]) if len(clips) == 2 and clips[0] and clips[1] else None,
        "videos": found.get("videos", found.get("n")),  # of detection n are key frames
        "failed": found.get("n_failed"),
        "macs_per_video": price.get("macs_per_video") if isinstance(price, dict) else None,
        "videos_per_second": number(found.get("videos_per_second")),
    }
    metrics = found.get("metrics")
    for name, value in (metrics if isinstance(metrics, dict) else {}).items():
        parts = value if isinstance(value, dict) else {"value": value}
        yield {**head, "metric": name, **{key: number(parts.get(key)) for key in ("value", "low", "high")}}


def specified(about: Mapping[str, Any]) -> Row:
    """Text, id and cost of the `spec` that was written as JSON, for its `task`; nothing where it is none."""
    try:
        spec = SPEC.validate_json(json.dumps(about.get("spec")))
    except (ValidationError, TypeError):
        return {}
    return spec_row(spec, cost(spec, boxes=1 if about.get("task") == "detection" else None))


Check = Callable[[Mapping[str, Any]], None]
"""Raises ValueError for content that cannot be."""


def json_file(path: Path, check: Check = lambda _: None) -> dict[str, Any]:
    """An object from a JSON file; empty for none. Raises DataError for one that is damaged."""
    try:
        found = opened_document(read_bytes(path))
        check(found)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: no JSON: {error.msg}; {RESTORE}") from None
    except ValueError as error:
        raise DataError(f"{path}: {error}; {RESTORE}") from None
    return found


def json_lines(path: Path, check: Check = lambda _: None) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; a line that is still being written is left out.

    So is, in files of earlier versions, what is no object. Raises DataError naming a line that is damaged.
    """
    rows: list[dict[str, Any]] = []
    if not path.is_file():
        return rows
    for number, line in SealedLines(path, "a row").read():
        try:
            row = parse_json(line)
        except ValueError:
            continue
        if not isinstance(row, dict):
            continue
        row.pop("schema", None)
        try:
            check(row)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}; {RESTORE}") from None
        rows.append(row)
    return rows


def number(value: object) -> float | None:
    """A number that is one; none for anything else."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _numbers(values: Iterable[object]) -> list[float]:
    return [v for value in values if (v := number(value)) is not None]


def _mean(values: Iterable[object]) -> float | None:
    found = _numbers(values)
    return sum(found) / len(found) if found else None
