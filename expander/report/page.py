"""One self-contained HTML page of runs and trainings: no network, no script needed, names escaped."""

from __future__ import annotations

import base64
import shlex
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from expander import __version__
from expander.config.space import dump_spec
from expander.report import charts, confusion, figures, rendering
from expander.report.filmstrip import Film, films
from expander.report.forecast_check import foretold, took
from expander.report.reader import History, history
from expander.report.results import json_file, name_of, test_files
from expander.report.schema import BASELINES, DECISIONS, STEPS, TESTS, TRAININGS, Column
from expander.report.status import failures
from expander.report.style import svg
from expander.report.summary import headline
from expander.report.tables import baselines, decisions, seeds_text, steps, tests, trainings, trials
from expander.report.videos import quarantined, videos_of
from expander.runs.journal import UNPROTECTED, Run
from expander.specs.cost_kinds import duration_text
from expander.specs.spec import Spec

WIDE, NARROW = 7.6, 4.3
"""Inches of a figure beside text and on a phone."""


def page(folders: list[Path]) -> str:
    """The page of these folders: searches and full trainings. Raises DataError for a damaged journal."""
    searches = [history(Run(folder)) for folder in folders if Run(folder).exists()]
    measures = " or ".join(dict.fromkeys(past.measure for past in searches))
    environment = Environment(
        loader=PackageLoader("expander", "report"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    return environment.get_template("page.html.j2").render(
        title=", ".join(map(name_of, folders)),
        version=__version__,
        frontier=_both("frontier", f"Best {measures} for every cost, of each run",
                       lambda width: figures.frontiers(list(searches), width)) if len(searches) > 1 else None,
        searches=[_search(past, f"r{number}") for number, past in enumerate(searches)],
        trainings=_table(trainings(*folders), TRAININGS, rendering.TRAINING_ORDER),
        training_figures=[(name_of(folder), figure) for number, folder in enumerate(folders)
                          if (figure := _training(folder, f"t{number}"))],
        tests=_table(tests(*folders), TESTS, rendering.TEST_ORDER),
        tested=[_tested(folder, name, found, f"x{n}-{m}") for n, folder in enumerate(folders)
                for m, (name, found) in enumerate(test_files(folder))],
    )  # fmt: skip


def _search(past: History, id: str) -> dict[str, Any]:
    """All that the page says of a search."""
    path = [step.chosen.winner for step in past.path if step.chosen]
    last = path[-1].spec if path else None
    specs = list(dict.fromkeys([path[0].spec, path[-1].spec])) if path else []
    data = videos_of(past)
    return {
        "id": id,
        "name": past.name,
        "measure": past.measure,
        "headline": headline(past),
        "seeds": next((seeds_text(step.chosen) for step in reversed(past.path) if step.chosen), ""),
        "figures": _figures(past, id, last),
        "steps": _table(steps(past), STEPS, rendering.STEP_ORDER, past.measure),
        "decisions": _table(_behind(decisions(past)), DECISIONS, rendering.DECISION_ORDER, past.measure),
        "baselines": _table(baselines(past), BASELINES, rendering.BASELINE_ORDER, past.measure),
        "going": past.finished is None,
        "forecast": _forecast(past),
        "failures": list(failures(past)),
        "videos": _videos(past),
        "quarantined": data if isinstance(data, str) else quarantined(data),
        "films": [_film(film) for film in films(data, specs, past.run.folder)],
        "spec_yaml": dump_spec(last, f"the last chosen spec of the run {past.name}") if last else "",
        "commands": _commands(past),
        "provenance": _provenance(past),
    }


def _both(id: str, meaning: str, draw: Callable[[float], Figure | None]) -> dict[str, Any] | None:
    """A figure drawn for a desk and for a phone; none where there is nothing to draw."""
    drawn = [draw(width) for width in (WIDE, NARROW)]
    if drawn[0] is None or drawn[1] is None:
        return None
    return {"meaning": meaning, "wide": Markup(svg(drawn[0], f"{id}w", meaning)),
            "narrow": Markup(svg(drawn[1], f"{id}n", meaning))}  # fmt: skip


def _figures(past: History, id: str, last: Spec | None) -> dict[str, dict[str, Any] | None]:
    persons = past.problem.persons if past.problem else None
    measure = "Accuracy" if past.measure == "accuracy" else past.measure
    drawn: Iterable[tuple[str, str, Callable[[float], Figure | None]]] = (
        ("trajectory", f"{measure} against cost: the chosen path and every candidate",
         lambda width: figures.trajectory(past, width)),
        ("gains", "What each axis gave in each step", lambda width: figures.gains(past, width)),
        ("growth", "How the chosen spec grew from step to step", lambda width: figures.growth(past, width)),
        ("curves", "Training loss of every candidate", lambda width: charts.curves(past, width)),
        ("layers", "Where the final network's cost is",
         lambda width: charts.layer_costs(last, width, persons) if last else None),
    )  # fmt: skip
    return {name: _both(f"{id}{name}", meaning, draw) for name, meaning, draw in drawn}


def _table(
    table: pd.DataFrame, columns: tuple[Column, ...], order: tuple[str, ...], measure: str = "accuracy"
) -> dict[str, Any]:
    """A table for the page: its columns with their meanings, and its cells as people read them.

    measure: what the columns of an accuracy are called.
    """
    found = rendering.cells(table, order)
    called = {column.name: column.name.replace("accuracy", measure) for column in columns}
    return {**found, "columns": [called[name] for name in found["columns"]],
            "meanings": {called[column.name]: column.meaning for column in columns}}  # fmt: skip


def _behind(table: pd.DataFrame) -> pd.DataFrame:
    """Without the winners' distance to themselves, and without a score where nothing was ranked."""
    alone = table.groupby("step")["axis"].transform("size") == 1
    table = table.assign(score=table["score"].mask(alone))
    return table.assign(**{name: table[name].mask(table["chosen"]) for name in ("behind", "low", "high")})


def _forecast(past: History) -> list[tuple[str, str, str]]:
    """(what, foretold, took) in words; nothing foretold where the run did not record its pace."""
    before, real = foretold(past), took(past)
    told = before or {"steps": None, "trials": None, "seconds": None}
    rows = [("expansions", told["steps"], real["steps"]), ("trials", told["trials"], real["trials"])]
    said = [(what, "" if b is None else f"{b:,}", f"{r:,}") for what, b, r in rows]
    wall = "not recorded" if told["seconds"] is None else duration_text(told["seconds"])
    summed = duration_text(real["seconds"])
    return [*said, ("wall time", wall, duration_text(real["wall"])), ("time of all trials", "", summed)]


def _videos(past: History) -> list[tuple[str, int]]:
    """Trials that met unreadable videos, and how many each."""
    table = trials(past)
    table = table[table["bad_videos"].fillna(0) > 0]
    return list(zip(table["trial"], table["bad_videos"].astype(int), strict=True))


def _film(film: Film) -> dict[str, Any]:
    spec = film.spec
    clip = "1 frame" if spec.frames == 1 else f"{spec.frames} frames, every {spec.stride}th of the video"
    return {"spec": f"{clip}, {spec.crop} x {spec.crop} pixels", "strips": film.strips,
            "missing": film.missing}  # fmt: skip


def _commands(past: History) -> list[str]:
    """What made the run, and what goes on with it."""
    given = past.provenance.get("command")
    made = shlex.join(["expander", *map(str, given[1:])]) if isinstance(given, list) and given else ""
    commit = past.provenance.get("commit")
    checkout = [f"git checkout {commit}"] if isinstance(commit, str) and commit else []
    again = [f"expander search --run {shlex.quote(past.name)} --resume"] if past.finished is None else []
    return [*checkout, *([made] if made else []), *again]


def _provenance(past: History) -> list[tuple[str, str]]:
    """Versions, machine, commit, data: as flat rows."""
    about = past.provenance
    sealed = "every line with a checksum" if past.run.protected() else UNPROTECTED.partition(": ")[2]
    versions = about.get("versions")
    rows = [(str(k), str(v)) for k, v in versions.items()] if isinstance(versions, dict) else []
    for key in ("platform", "cores", "commit", "data_fingerprint"):
        if about.get(key) not in (None, ""):
            rows.append((key.replace("_", " "), str(about[key])))
    return [*rows, ("journal", sealed)]


def _training(folder: Path, id: str) -> dict[str, Any] | None:
    if not json_file(folder / "training.json"):
        return None
    meaning = "Loss and validations over the training"
    return _both(id, meaning, lambda width: charts.training_curves(folder, min(width, 5.2)))


def _tested(folder: Path, name: str, found: dict[str, Any], id: str) -> dict[str, Any]:
    """Of one test: its figures, its confusions or key frames, what could not be read."""
    meaning = "Accuracy of each class, with 95 % intervals"
    if found.get("task") == "detection":
        meaning = "Average precision of each class, and how many true boxes have it"
    elif charts.has_precision(found):
        meaning = "Average precision of each class; a bar is the share of the videos that have it"
    classes = _both(f"{id}c", meaning, lambda width: charts.class_results(found, min(width, 5.2)))
    readable = len(found.get("classes") or []) <= confusion.READABLE
    matrix = _both(f"{id}m", "Confusion of the classes",
                   lambda width: confusion.figure(found, min(width, 5.2)) if readable else None)  # fmt: skip
    failed = [row for row in found.get("failed") or [] if isinstance(row, dict)]
    return {
        "name": name,
        "key_frames": _picture(folder / "tests" / f"{name}.keyframes.png"),
        "figures": [figure for figure in (classes, matrix) if figure],
        "confusions": confusion.pairs(found),
        "failed": [(str(row.get("path", "")), str(row.get("reason", ""))) for row in failed],
    }


def _picture(file: Path) -> str:
    """A picture that a test left, as a data URI; empty where there is none."""
    try:
        return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    except OSError:
        return ""
