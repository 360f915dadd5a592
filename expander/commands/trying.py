"""Training of specs beside a run: what `baseline` and `contract --train` share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from expander.records import Candidate, RunStarted
    from expander.store import Run
    from expander.tries import Tried


def train(
    run: Run,
    start: RunStarted,
    name: str,
    kind: str,
    target: float,
    specs: Sequence[Candidate],
    step: int,
    backend: str | None,
) -> list[Tried]:
    """Trains what is new of `specs`, a line each, and keeps it in the file `name` of the run folder.

    Raises DataError when the data have changed since the run began.
    """
    from expander.commands.running import backend_of
    from expander.data.sources import open_data
    from expander.errors import DataError
    from expander.tries import try_out

    kinds: dict[str, Any] = {"kind": backend} if backend else {}
    config = replace(start.backend, **kinds)

    def heard(tried: Tried) -> None:
        if tried.result is not None:
            click.echo(f"{tried.name} seed {tried.seed}: {tried.result.accuracy:.1%}", err=True)
        elif tried.failure is not None:
            click.echo(f"{tried.name} seed {tried.seed} failed: {tried.failure.reason}", err=True)

    with run.locked():
        if open_data(start.data).fingerprint != start.data_fingerprint:
            raise DataError(f"{run.folder}: the data set has changed since the run began")
        file = run.folder / name
        return try_out(run, start, file, kind, target, specs, step, lambda: backend_of(config), heard)
