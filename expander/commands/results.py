"""status and report: what a run folder says. No torch, no Ray."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("run")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def status(run: str, as_json: bool) -> None:
    """How far RUN is: its step, its trials, the best spec so far."""
    from expander.commands.references import find_run
    from expander.report.live import status_of, status_text

    found = find_run(run)
    click.echo(json.dumps(status_of(found), indent=1) if as_json else status_text(found))


@click.command()
@click.argument("runs", nargs=-1, required=True)
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table",
              show_default=True, help="table also writes the figure.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--out", type=click.Path(path_type=Path), help="Write to this file instead.")
def report(runs: tuple[str, ...], form: str, as_json: bool, out: Path | None) -> None:
    """The trajectory of each of RUNS: one row a step, and the figure in RUN/report/."""
    from expander.commands.references import find_run

    found = {name: find_run(name) for name in runs}
    form = "json" if as_json else form
    text = _tables(found) if form == "table" else _rows(found, form)
    if out is None:
        click.echo(text)
    else:
        from expander.store import write_atomic

        write_atomic(out, (text.rstrip("\n") + "\n").encode())


def _tables(runs: dict[str, Any]) -> str:
    from expander.report.tables import steps, trajectory_text

    parts = []
    for name, run in runs.items():
        parts.append(f"run {name}\n{trajectory_text(run)}")
        if not steps(run).empty:
            parts.append(f"figure: {draw(run)}")
    return "\n".join(parts)


def _rows(runs: dict[str, Any], form: str) -> str:
    import pandas as pd

    from expander.report.tables import steps

    tables = [steps(run) for run in runs.values()]
    for name, table in zip(runs, tables, strict=True):
        if len(runs) > 1:
            table.insert(0, "run", name)
    table = pd.concat(tables)
    if form == "csv":
        return table.to_csv(index=False).rstrip("\n")
    return str(table.to_json(orient="records", indent=1))


def draw(run: Any) -> Path:
    """The trajectory figure of a run, written to its report folder. Raises EnvironmentFault."""
    from expander.errors import EnvironmentFault
    from expander.report.figures import save_trajectory

    path = run.folder / "report" / "trajectory.png"
    try:
        return save_trajectory(run, path)
    except OSError as error:
        raise EnvironmentFault(f"{path}: cannot be written: {error.strerror}") from None
