"""status and report: what a run folder says. No torch, no Ray."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from expander.cli.help import Command
from expander.cli.options import Seconds
from expander.cli.output.terminal import say

if TYPE_CHECKING:
    import pandas as pd

    from expander.runs.journal import Run

TABLES = ("steps", "trials", "decisions", "frontier", "baselines", "trainings", "tests")


@click.command(cls=Command)
@click.argument("run")
@click.option("--watch", is_flag=True, help="Show it again whenever it changes, until the run ends.")
@click.option("--every", type=Seconds(min=0.2, max=86_400), default=2.0, show_default=True,
              help="Seconds between two looks, with --watch.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(run: str, watch: bool, every: float, as_json: bool) -> None:
    """How far RUN is: its step, its candidates, the best spec so far, what is ahead, what failed."""
    from expander.engine.references import find_run
    from expander.report.status import status_of, status_text

    found = find_run(run)

    def look() -> tuple[str, bool]:
        now = status_of(found)
        return json.dumps(now, indent=1) if as_json else status_text(now), now["outcome"] != "running"

    if watch:
        _watch(look, every)
    else:
        say(look()[0])


def _watch(look: Callable[[], tuple[str, bool]], every: float) -> None:
    """Shows what `look` says until it says that it is the end; on a terminal always on a clean screen."""
    import sys
    import time

    shown = None
    while True:
        text, ended = look()
        if text != shown:
            if sys.stdout.isatty():
                click.clear()
            say(text)
            shown = text
        if ended:
            return
        time.sleep(every)


@click.command(cls=Command)
@click.argument("runs", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(["table", "csv", "parquet", "json", "markdown", "html"]),
              default="table", show_default=True,
              help="table also draws the figure; html is one self-contained page.")  # fmt: skip
@click.option("--table", type=click.Choice(TABLES), default="steps", show_default=True,
              help="Which table, for csv, parquet, json and markdown.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead.")
def report(runs: tuple[str, ...], form: str, table: str, as_json: bool, out: Path | None) -> None:
    """What RUNS found: the trajectory, every decision, figures, one page to show to others.

    RUNS are searches and full trainings, by name or folder: finished, going on, or stopped.
    """
    form = "json" if as_json else form
    if form == "html":
        _page(runs, out)
    elif form == "table":
        _say(_trajectories(runs), out)
    else:
        _rows(runs, form, table, out)


def _say(text: str, out: Path | None) -> None:
    if out is None:
        say(text.rstrip("\n"))
    else:
        from expander.runs.targets import write_out

        write_out(out, (text.rstrip("\n") + "\n").encode())


def _trajectories(names: tuple[str, ...]) -> str:
    from expander.engine.references import find_run, find_training
    from expander.report import results
    from expander.report.reader import history
    from expander.report.tables import trajectory_text
    from expander.runs.journal import UNPROTECTED

    parts = []
    for name in names:
        if training := find_training(name):
            parts.append(f"training {name}\n{_plain(results.trainings(training.folder))}")
            continue
        past = history(find_run(name))
        parts.append(f"run {name}\n{trajectory_text(past)}")
        if not past.run.protected():
            parts.append(UNPROTECTED)
        if past.path:
            parts.append(f"figure: {draw(past.run)}")
    return "\n".join(parts)


def _plain(table: pd.DataFrame) -> str:
    """A table of few rows as lines of `column: value`, without what is missing."""
    import pandas as pd

    return "\n".join(f"  {name}: {value}" for row in table.to_dict("records") for name, value in row.items()
                     if pd.notna(value))  # fmt: skip


def _rows(names: tuple[str, ...], form: str, table: str, out: Path | None) -> None:
    from expander.errors import UsageError
    from expander.report import formats

    if form == "parquet" and out is None:
        raise UsageError("--format parquet is not text: add --out FILE")
    found = _table(names, table)
    if form == "parquet":
        assert out is not None
        formats.write_parquet(found, out)
        return
    as_text = {"csv": formats.csv_text, "json": formats.json_text, "markdown": formats.markdown_text}
    _say(as_text[form](found), out)


def _table(names: tuple[str, ...], table: str) -> pd.DataFrame:
    from expander.engine.references import find_run, find_training
    from expander.report import results, tables

    if table == "steps" and all(map(find_training, names)):
        table = "trainings"  # they have no steps
    if table in ("baselines", "trainings", "tests"):
        of_folders: Callable[..., pd.DataFrame] = getattr(results, table)
        return of_folders(*map(find_folder, names))
    of_runs: Callable[..., pd.DataFrame] = getattr(tables, table)
    return of_runs(*map(find_run, names))


def find_folder(name: str) -> Path:
    """The folder of a search or of a full training. Raises UsageError when there is none."""
    from expander.config.reading import is_file, is_folder
    from expander.engine.references import RUNS, find_run

    for folder in (RUNS / name, Path(name)):
        if is_file(folder / "training.json") or is_folder(folder / "tests"):
            return folder
    return find_run(name).folder


def _page(names: tuple[str, ...], out: Path | None) -> None:
    from expander.report.page import page
    from expander.runs.names import inside
    from expander.runs.targets import write_out

    folders = [find_folder(name) for name in names]
    file = out or folders[0] / "report" / "report.html"
    text = page(folders).encode()
    if out is None:
        inside(folders[0], file)
    write_out(file, text)
    say(f"page: {file}")


def draw(run: Run) -> Path:
    """The trajectory figure of a run, written to its report folder. Raises EnvironmentFault."""
    from expander.report.figures import save_trajectory
    from expander.runs.names import inside

    path = run.folder / "report" / "trajectory.png"
    inside(run.folder, path)
    return save_trajectory(run, path)
