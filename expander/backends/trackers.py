"""`--log`: what trials report, also to the trackers people already run, by Ray Tune's own callbacks.

Off by default. Each tracker is an extra, imported only when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from expander.config.reading import parse_json
from expander.errors import EnvironmentFault
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult

MEASURED = ("accuracy", "loss", "train_loss", "seconds", "videos", "clips", "bad_videos")
"""What of a result a tracker is told."""

Callback = Any


def _tensorboard(run: Path) -> Callback:
    """Event files in RUN/tensorboard/<trial>/."""
    from ray.tune.logger import TBXLoggerCallback

    callback = TBXLoggerCallback()
    writer = callback._summary_writer_cls
    # Tune's own place is a scratch folder that ends with the run.
    callback._summary_writer_cls = lambda place, **options: writer(
        str(run / "tensorboard" / Path(place).name), **options
    )
    callback._try_log_hparams = lambda *_: None  # the whole order of a trial is no hyperparameter
    return callback


def _mlflow(run: Path) -> Callback:
    """Runs of an experiment named as the run, where MLFLOW_TRACKING_URI says, else in RUN/mlflow.db."""
    import os

    from ray.air.integrations.mlflow import MLflowLoggerCallback

    place = os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{run / 'mlflow.db'}"
    callback = MLflowLoggerCallback(tracking_uri=place, experiment_name=run.name)
    callback.mlflow_util.log_params = lambda *_, **__: None
    return callback


def _wandb(run: Path) -> Callback:
    """Runs of the project `expander`, grouped by the run's name; as WANDB_MODE and the login say."""
    from ray.air.integrations.wandb import WandbLoggerCallback

    private = ["order", "outcome"]
    return WandbLoggerCallback(project="expander", group=run.name, excludes=private, dir=str(run))


TRACKERS: dict[str, tuple[str, Callable[[Path], Callback]]] = {
    "tensorboard": ("tensorboardX", _tensorboard),
    "mlflow": ("mlflow", _mlflow),
    "wandb": ("wandb", _wandb),
}
"""Of each tracker: the package it needs, and Tune's callback for a run folder."""


def require(names: Sequence[str]) -> None:
    """Raises EnvironmentFault, with the line that installs it, for a tracker whose package is missing."""
    for name in names:
        if find_spec(TRACKERS[name][0]) is None:
            raise EnvironmentFault(f"--log {name} needs a package that is not installed: pip install "
                                   f"'expander[{name}]'")  # fmt: skip


def callbacks(names: Sequence[str], run: Path) -> list[Callback]:
    """Tune's callbacks for these trackers. Raises EnvironmentFault for one that is not installed."""
    require(names)
    return [TRACKERS[name][1](run) for name in names]


def told(order: TrialOrder, outcome: TrialResult | TrialFailure) -> Iterator[dict[str, Any]]:
    """What a tracker is told of a trial: its training, row by row, and last its result."""
    folder = getattr(order.trial, "folder", order.trial.id)
    file = Path(order.folder) / "trials" / folder / "metrics.jsonl"
    for line in file.read_text().splitlines() if file.is_file() else ():
        row = parse_json(line)
        if "step" in row:
            yield {"timesteps_total": row["step"], **{k: row[k] for k in ("loss", "lr") if k in row}}
    if isinstance(outcome, TrialResult):
        final = {f"result/{name}": float(getattr(outcome, name)) for name in MEASURED}
        yield {"timesteps_total": order.recipe.steps, **final}
