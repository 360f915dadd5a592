"""Jobs: videos prepared, searches, trainings, tests, reports."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from expander.engine.answers import Report, SearchResult, TrainResult
from expander.engine.folders import run_folder, training_folder
from expander.errors import TargetError, UsageError
from expander.specs.spec import Spec

if TYPE_CHECKING:
    from expander.config.settings import Task
    from expander.engine.prepare import Prepared
    from expander.runs.events import Event
    from expander.runs.journal import Run
    from expander.training.timing.throughput import Throughput
    from expander.training.training_folder import Row, Training

Lists = Mapping[str, Any]
"""Settings of the data, as `config.settings.DataConfig` names them: train_ann, val_ann, root, …"""


def prepare(
    data: str | Path | Lists,
    out: str | Path,
    space: str = "x3d",
    short_side: int | None = None,
    processes: int | None = None,
    progress: Callable[[int, int], None] = lambda _, __: None,
    shard_bytes: int | None = None,
) -> Prepared:
    """Every video once as small H.264 in the folder `out`, which search, train and test take as data.

    short_side: pixels (default: what the largest spec of `space` can use). processes: at a time (default: the
    CPUs). progress: told of (done, total). What is done already is not done again. Sources that cannot be
    read are in `damaged` of the result. shard_bytes: of the videos of a shard (default: no
    shards, every video is a file). Raises UsageError, DataError or EnvironmentFault.
    """
    from expander.config.settings import DataConfig
    from expander.engine import prepare as engine

    order = engine.PrepareOrder(DataConfig(**_lists(data)), Path(out), space, short_side, processes=processes,
                                shard_bytes=shard_bytes)  # fmt: skip
    made = engine.prepare(order, progress=progress)
    assert made is not None  # only a dry run makes nothing
    return made


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
    task: Task = "classification",
) -> SearchResult:
    """Grows a network on your videos to a budget of multiply-adds, then contracts it to meet the budget.

    target_gflops: 1e9 multiply-adds of a view. data: a folder of class folders or lists, or settings by
    name (default: the embedded data set). run: name of the folder below runs/ (default: from space and
    time). backend: ray or inline. settings: `proxy.steps=400` and the like. on_event: told of every event
    once it is in the journal. task: classification, or detection of what each person does. Raises UsageError,
    DataError, or TargetError when the target cannot be met.
    """
    from expander.config.load import load_settings
    from expander.engine.preparation import Goal, begin, check_backend, command_line
    from expander.engine.search import carry_out, plan
    from expander.runs.journal import Run
    from expander.runs.ownership import claimed

    if not 0 < target_gflops < float("inf"):
        raise UsageError(f"target_gflops must be a positive number, not {target_gflops}")
    found = load_settings(space, settings, {"data": _lists(data), "backend": {"kind": backend}, "budget": {}})
    folder = run_folder(run, f"{Path(space).stem}-{target_gflops:g}G")
    check_backend(found.backend)
    made = Run(folder)
    with claimed(folder, found.backend.storage):
        start, speed = plan(found, Goal("flops", round(target_gflops * 1e9)), seed, max_steps, task=task)
        made.create(found.backend.storage)
        begin(made, start, command_line(), speed)
        carry_out(made, start, lambda event, _: on_event(event))
    return _result(made)


def resume(run: str, on_event: Callable[[Event], None] = lambda _: None) -> SearchResult:
    """Goes on with a search that was stopped, with the run's own settings; of a finished one, its result."""
    from expander.engine.loop import started
    from expander.engine.references import find_run
    from expander.engine.search import carry_out, check_data

    found = find_run(run)
    with found.locked(started(found).backend.storage):
        found.cut_torn_line()
        start = started(found)
        check_data(found, start)
        carry_out(found, start, lambda event, _: on_event(event))
    return _result(found)


def train(
    spec: Spec | str,
    data: str | Path | Lists | None = None,
    recipe: str | None = None,
    run: str | None = None,
    init: str | None = None,
    settings: Sequence[str] = (),
    seed: int = 0,
    workers: int | None = None,
    gpus: int | None = None,
    on_row: Callable[[Row], None] = lambda _: None,
    task: Task | None = None,
) -> TrainResult:
    """Trains a network to the end.

    data: as for `search` (default: the run's videos, or the embedded data set). recipe: x3d, finetune, tiny,
    ava or a YAML file (default: x3d, of detection ava). run: name of the folder below runs/. init: weights to
    start from. settings: `train.epochs=30` and the like. workers, gpus: processes on CPUs, or with a GPU
    each, that share a batch (Ray Train). on_row: told of every step and validation. task: as for `search`
    (default: the run's). An interrupted training goes on with `expander train --run NAME --resume`.

    Raises UsageError, DataError, EnvironmentFault, or TrainingFault for a loss that is no number.
    """
    from expander.data.filling import fill_cache
    from expander.engine import train as engine
    from expander.runs.ownership import claimed

    order = engine.TrainOrder(spec, _lists(data), recipe, init, seed=seed, gpus=gpus, workers=workers,
                              task=task, overrides=tuple(settings))  # fmt: skip
    folder = training_folder(run, str(spec) if isinstance(spec, str) else "spec")
    with claimed(folder.folder):
        training, videos = engine.plan(order)
        folder.write(training)
        with engine.recorded(folder):
            fill_cache(videos, training.data)
            training = engine.run(training, folder, _Watcher(on_row))
    best = training.best.goodness if training.best is not None else None
    weights = folder.best if best is not None else folder.last
    if training.measure == "mAP":
        return TrainResult(folder.folder, training.spec, None, weights, best)
    return TrainResult(folder.folder, training.spec, best, weights)


def test(
    spec: str,
    checkpoint: str | Path | None = None,
    data: str | Path | Lists | None = None,
    views: str = "10",
    protocol: str = "expander",
    out: str | Path | None = None,
    device: str | None = None,
    workers: int = 1,
    resume: bool = False,
    originals: str | Path | Lists | None = None,
) -> dict[str, Any]:
    """The multi-view test of a network on the validation videos: metrics, confusion, failed videos, cost.

    spec: a published name, a YAML file, a run or a training, which brings its own weights and data.
    checkpoint: ours, or one of SlowFast, PyTorchVideo or MMAction2. views: 10, 30 or KxM. protocol:
    expander, slowfast, mmaction2, mmaction2-0.x or pytorchvideo. out: a JSON file for the result (default:
    in the run folder). resume: go on with a test of the same result that was stopped. originals: those of
    prepared videos; they are tested too, and `originals` in the result says what the copies cost. Raises
    UsageError or DataError.
    """
    from expander.engine.against_originals import carry_out_both, prepare_both
    from expander.engine.test import Evaluation
    from expander.report.confusion import write
    from expander.video.view_protocols import parse_protocol

    order = Evaluation(spec, None if checkpoint is None else str(checkpoint), data=_lists(data), views=views,
                       protocol=parse_protocol(protocol), out=None if out is None else Path(out),
                       device=device, workers=workers, resume=resume)  # fmt: skip
    with ExitStack() as stack:
        done = []
        both = prepare_both(order, None if originals is None else _lists(originals), stack)
        for one in carry_out_both(both):
            if one.prepared.out is not None:
                write(one.prepared.out, one.found, f"{Path(spec).name}, {one.found['n']} videos")
            done.append(one)
        for one in done:
            one.prepared.scores.forget(len(one.outcome.failed))
    return done[-1].found


def detect(
    spec: str,
    checkpoint: str | Path | None = None,
    data: str | Path | Lists | None = None,
    min_score: float | None = None,
    out: str | Path | None = None,
    device: str | None = None,
    workers: int = 1,
    resume: bool = False,
) -> dict[str, Any]:
    """The test of a network for detection on validation key frames: frame mAP, classes, failed videos, cost.

    spec, checkpoint, data: as for `test`. min_score: least score of a detected person (default:
    data.test_score, 0.8). out: a JSON file for the result, detections and figures beside it (default: in the
    run folder). resume: as for `test`. Raises UsageError or DataError.
    """
    from expander.engine.detect import DetectionTest, carry_out, prepare
    from expander.report.detection.detections import write

    order = DetectionTest(spec, None if checkpoint is None else str(checkpoint), _lists(data), min_score,
                          device, workers=workers, resume=resume,
                          out=None if out is None else Path(out))  # fmt: skip
    prepared = prepare(order)
    with prepared.scores:
        found = carry_out(prepared)
        if prepared.out is not None:
            write(prepared.out, found)
        prepared.scores.forget(found.result["n_failed"])
    return found.result


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


def _lists(data: str | Path | Lists | None) -> dict[str, Any]:
    return {"folder": str(data)} if isinstance(data, str | Path) else dict(data or {})


class _Watcher:
    """Tells of rows only."""

    def __init__(self, on_row: Callable[[Row], None]) -> None:
        self.on_row = on_row

    def step(self, pace: Throughput, loss: float) -> None:
        """Rows say it too."""

    def row(self, row: Row, training: Training) -> None:  # noqa: ARG002
        self.on_row(row)


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
