"""The Python API: what the commands do, as functions of plain values. `expander.search` is `api.search`.

Errors are exceptions of `expander.errors` with the same one line that the commands print.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expander.errors import TargetError, UsageError
from expander.specs.spec import Spec

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from expander.evaluation.classifier import Classifier, Prediction
    from expander.model.network import X3D
    from expander.runs.events import Candidate, Event
    from expander.runs.journal import Run
    from expander.specs.costs import Cost

RUN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
Lists = Mapping[str, Any]
"""Settings of the data, as `config.settings.DataConfig` names them: train_ann, val_ann, root, …"""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search came to. folder: of its run. path: the base and what every step chose.

    outcome: target, limit or failed; reason: in words.
    """

    folder: Path
    path: tuple[Candidate, ...]
    accuracies: tuple[float, ...]
    outcome: str
    reason: str

    @property
    def spec(self) -> Spec:
        """The network that was found."""
        return self.path[-1].spec


@dataclass(frozen=True, slots=True)
class Report:
    """Tables of runs, typed as `report.schema` says.

    figure: of one run its trajectory, of several their frontiers (none where nothing was decided yet).
    """

    steps: pd.DataFrame
    trials: pd.DataFrame
    decisions: pd.DataFrame
    frontier: pd.DataFrame
    figure: Figure | None


def build(spec: Spec | str, classes: int | None = None) -> X3D:
    """The network of a spec (a Spec, a published name, a YAML file, or RUN:step3) with new weights.

    It takes (N, 3, T, H, W) clips and gives (N, classes) logits. Raises UsageError for an unknown spec.
    """
    from expander.model.network import X3D

    found = _spec(spec)
    return X3D(found if classes is None else found.with_classes(classes))


def load(source: str | Path, spec: Spec | str | None = None) -> Classifier:
    """A network with its weights, ready for `predict`.

    source: a .safetensors file, a run (`runs/demo`, `demo`) or a step of it (`demo:step2`). spec: clip
    and crop of another spec of the same network (default: the weights' own). Raises an
    `expander.errors.ExpanderError` for what cannot be found, read or trusted.
    """
    from expander.engine.references import find_weights
    from expander.evaluation.classifier import classifier

    return classifier(find_weights(str(source)), None if spec is None else _spec(spec))


def predict(source: str | Path, video: str | Path, topk: int = 5, views: int = 10) -> list[Prediction]:
    """The `topk` most probable classes of one video file; `load` once for many. Raises DataError."""
    return load(source).predict(video, topk, views)


def cost(spec: Spec | str, crop: int | None = None) -> Cost:
    """Multiply-adds, parameters and activations of a view. crop: pixels (default: the training crop)."""
    from expander.specs.cost import cost as closed_form

    return closed_form(_spec(spec), crop)


def trace(axes: Sequence[str], space: str = "x3d") -> tuple[Candidate, ...]:
    """The base of a space and the candidates after expanding `axes` one after another; nothing is trained.

    Raises UsageError for an axis that is unknown or cannot move.
    """
    from expander.config.space import load_space
    from expander.search.trace import follow

    return follow(load_space(space), list(axes))


def search(
    target_gflops: float,
    data: str | Path | Lists | None = None,
    space: str = "x3d",
    run: str | None = None,
    backend: str = "ray",
    settings: Sequence[str] = (),
    seed: int = 0,
    max_steps: int | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
) -> SearchResult:
    """Grows a network on your videos to a budget of multiply-adds, then contracts it to meet the budget.

    target_gflops: 1e9 multiply-adds of a view. data: a folder of class folders or lists, or settings by
    name (default: the embedded data set). run: name of the folder below runs/ (default: from space and
    time). backend: ray or inline. settings: `proxy.steps=400` and the like. on_event: told of every event
    once it is in the journal. Raises UsageError, DataError, or TargetError when the target cannot be met.
    """
    from expander.config.load import load_settings
    from expander.engine.preparation import Goal, begin, check_backend, command_line
    from expander.engine.search import carry_out, plan
    from expander.runs.journal import Run

    if not 0 < target_gflops < float("inf"):
        raise UsageError(f"target_gflops must be a positive number, not {target_gflops}")
    lists = {"folder": str(data)} if isinstance(data, str | Path) else dict(data or {})
    found = load_settings(space, settings, {"data": lists, "backend": {"kind": backend}, "budget": {}})
    folder = run_folder(run, f"{Path(space).stem}-{target_gflops:g}G")
    if folder.exists():
        raise UsageError(f"{folder} exists; go on with resume(), or choose another run")
    check_backend(found.backend)
    start, speed = plan(found, Goal("flops", round(target_gflops * 1e9)), seed, max_steps)
    made = Run(folder)
    made.create(found.backend.storage)
    with made.locked():
        begin(made, start, command_line(), speed)
        carry_out(made, start, lambda event, _: on_event(event))
    return _result(made)


def resume(run: str, on_event: Callable[[Event], None] = lambda _: None) -> SearchResult:
    """Goes on with a search that was stopped, with the run's own settings; of a finished one, its result."""
    from expander.engine.loop import started
    from expander.engine.references import find_run
    from expander.engine.search import carry_out, check_data

    found = find_run(run)
    with found.locked():
        found.cut_torn_line()
        start = started(found)
        check_data(found, start)
        carry_out(found, start, lambda event, _: on_event(event))
    return _result(found)


def report(*runs: str) -> Report:
    """Tables and the figure of runs that are finished, going on, or were killed. Raises UsageError."""
    from expander.engine.references import find_run
    from expander.report.figures import frontiers, trajectory
    from expander.report.tables import decisions, frontier, steps, trials

    if not runs:
        raise UsageError("report: name a run")
    found = [find_run(run) for run in runs]
    figure = trajectory(found[0]) if len(found) == 1 else frontiers([*found])
    return Report(steps(*found), trials(*found), decisions(*found), frontier(*found), figure)


def run_folder(name: str | None, wanted: str) -> Path:
    """runs/NAME; without a name one of `wanted` and the time. Raises UsageError for no plain folder name."""
    from expander.engine.references import RUNS

    if name is None:
        plain = re.sub(r"[^A-Za-z0-9._-]", "", wanted)
        return RUNS / f"{plain}-{datetime.now():%Y%m%d-%H%M%S}"
    if not RUN_NAME.fullmatch(name):
        raise UsageError(f"--run {name!r}: take letters, digits, '_', and inside the name '.' and '-'")
    return RUNS / name


def _spec(spec: Spec | str) -> Spec:
    from expander.engine.references import find_spec

    return spec if isinstance(spec, Spec) else find_spec(spec)


def _result(run: Run) -> SearchResult:
    """Raises TargetError for a search that failed or was stopped before its end."""
    from expander.engine.loop import state_of

    state = state_of(run)
    if state.finished is None:
        raise TargetError(f"{run.folder}: stopped before its end; go on with resume({run.folder.name!r})")
    if state.finished.outcome == "failed":
        raise TargetError(f"{run.folder}: {state.finished.reason}")
    end = state.finished
    return SearchResult(run.folder, state.path, state.accuracies, end.outcome, end.reason)
