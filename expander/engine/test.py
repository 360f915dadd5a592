"""A multi-view test from what it is asked to be to its result: weights, videos, views, scores."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch

from expander.config.settings import DataConfig
from expander.data.sources import decoder, embedded
from expander.data.test_list import HeldOut, open_held_out
from expander.engine.references import data_of, find_spec, find_training, find_weights, home_of
from expander.errors import DataError, UsageError, first_line
from expander.evaluation.multiview import Average, Outcome, Scorer, for_inference, usual_average
from expander.evaluation.result import METRICS, MULTI_LABEL_METRICS, summary
from expander.evaluation.scores import Lines, ScoreFile
from expander.runs.names import below, inside
from expander.runs.ownership import Lock, taken
from expander.runs.targets import regular
from expander.video.view_protocols import Protocol, parse_views, short_side
from expander.video.views import Look
from expander.weights.foreign import load_foreign
from expander.weights.safetensors_file import Loaded, load_weights

DEVICES = ("cpu", "cuda", "mps")
Progress = Callable[[int, int], None]
File = TypeVar("File", bound=Lines)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What is to be tested, on what and how; the fields are the options of `expander test`.

    average, metrics: none, those that are usual for the network.
    """

    spec: str
    checkpoint: str | None = None
    key: str | None = None
    data: Mapping[str, Any] = field(default_factory=dict)
    views: str = "10"
    protocol: Protocol = "expander"
    average: Average | None = None
    metrics: Sequence[str] | None = None
    topk: Sequence[int] = (1, 5)
    device: str | None = None
    batch: int = 10
    workers: int = 1
    timeout: float | None = None
    out: Path | None = None
    dump: Path | None = None
    resume: bool = False


@dataclass(frozen=True, slots=True)
class Kept(Generic[File]):
    """The scores of a test, which are its own from when it is prepared until this context ends, when the
    result is written. file: none where none are kept.
    """

    file: File | None = None
    path: Path | None = None
    lock: Lock | None = None

    def __enter__(self) -> None:
        try:
            self.begin()
        except BaseException:
            self.__exit__()
            raise

    def begin(self) -> None:
        """From here on those of an earlier test that ended are gone. Raises EnvironmentFault."""
        if self.file is not None:
            self.file.begin()

    def __exit__(self, *_: object) -> None:
        if self.lock is not None:
            self.lock.give_up()

    def forget(self, failed: int) -> None:
        """Deletes what was kept for a resume, once the result is written and no video failed."""
        if self.path is not None and not failed:
            self.path.unlink()


@dataclass(frozen=True, slots=True)
class Prepared:
    """All that a test needs. path: of the weights. out: of its result."""

    loaded: Loaded
    path: Path
    config: DataConfig
    data: HeldOut
    scorer: Scorer
    out: Path | None
    scores: Kept[ScoreFile]


def prepare(
    order: Evaluation, progress: Progress | None = None, note: Callable[[str], None] = lambda _: None
) -> Prepared:
    """Weights, videos and scorer; note: is told of what a foreign checkpoint holds besides.

    Raises UsageError, DataError or EnvironmentFault.
    """
    views, device = parse_views(order.views), device_of(order.device)
    loaded, path = _weights(order, note)
    config, data = _data(order, loaded, progress)
    if path.suffix != ".safetensors":  # checkpoints of other libraries do not say what they were trained for
        loaded = replace(loaded, multi_label=data.videos.multi_label)
    _check_labels(data, loaded, path)
    _check_metrics(order, loaded)
    out = _result_path(order, str(views))
    scorer = _scorer(order, loaded, views, config, device)
    # One file may hold several networks.
    identity = f"{loaded.sha256} {order.key}" if order.key else loaded.sha256
    place = _scores_path(order, out)
    if place is None:
        return Prepared(loaded, path, config, data, scorer, out, Kept())
    head, count = _head(scorer, data, identity), len(set(data.names))
    kept = locked(place, lambda: ScoreFile(place, head, count, order.resume), order.dump is None)
    return Prepared(loaded, path, config, data, scorer, out, kept)


def carry_out(
    order: Evaluation, prepared: Prepared, progress: Progress | None = None
) -> tuple[dict[str, Any], Outcome]:
    """The result, as docs/protocols.md describes it, and what it took. Raises DataError: no video is read."""
    data, loaded, scorer = prepared.data, prepared.loaded, prepared.scorer
    outcome = scorer.run(data, prepared.scores.file, progress)
    if len(outcome.failed) == len(data.names) + len(data.lost):
        first = ": ".join(outcome.failed[0])
        raise DataError(f"none of the {len(outcome.failed)} videos can be read, the first is {first}")
    topk = tuple(dict.fromkeys(order.topk))
    metrics = order.metrics or (MULTI_LABEL_METRICS if loaded.multi_label else METRICS)
    found = summary(scorer, data, outcome, loaded.classes, metrics, topk)
    origin = {"path": str(prepared.path), "sha256": loaded.sha256} | ({"key": order.key} if order.key else {})
    return {**found, "checkpoint": origin}, outcome


def _weights(order: Evaluation, note: Callable[[str], None]) -> tuple[Loaded, Path]:
    wanted = find_spec(order.spec)
    path = find_weights(order.checkpoint or order.spec)
    if order.checkpoint is None and path.suffix != ".safetensors":
        raise UsageError(f"CHECKPOINT is missing: the weights of {order.spec}; only a run brings its own")
    if path.suffix == ".safetensors":
        if order.key is not None:
            said = f"--key {order.key}: {path} is ours; only checkpoints of other libraries have keys"
            raise UsageError(said)
        return load_weights(path, wanted), path
    return load_foreign(path, wanted, order.key, note), path


def _data(order: Evaluation, loaded: Loaded, progress: Progress | None) -> tuple[DataConfig, HeldOut]:
    """The data that are named, or the run's, or the embedded videos."""
    given = dict(order.data)
    if given.get("val_ann"):  # a test can do without a training list
        given.setdefault("train_ann", given["val_ann"])
    if not given and (own := data_of(order.spec)):
        config = own
    else:
        try:
            config = DataConfig(**given)
        except (TypeError, ValueError) as error:
            raise UsageError(str(error)) from None
    if config.folder is None and config.train_ann is None:
        embedded(progress)
    if order.timeout is not None:
        config = replace(config, decode_timeout=order.timeout)
    return config, open_held_out(config, loaded.classes)


def _check_metrics(order: Evaluation, loaded: Loaded) -> None:
    """Raises UsageError for metrics that a network of its kind has not."""
    known, kind = (MULTI_LABEL_METRICS, "several labels") if loaded.multi_label else (METRICS, "one label")
    if strange := [name for name in order.metrics or () if name not in known]:
        raise UsageError(f"--eval {strange[0]}: not of a network of {kind} a video, of which there is "
                         f"{' and '.join(known)}")  # fmt: skip


def _check_labels(data: HeldOut, loaded: Loaded, path: Path) -> None:
    """Raises DataError for videos of several labels and a network of one, or the other way."""
    if data.videos.multi_label != loaded.multi_label:
        kinds = ("one label", "several labels")
        raise DataError(f"{path}: a network of {kinds[loaded.multi_label]} a video, and the videos have "
                        f"{kinds[data.videos.multi_label]}; --ann-format multilabel reads any list as one of "
                        "several")  # fmt: skip


def _result_path(order: Evaluation, views: str) -> Path | None:
    """The one that is asked for, or in the run folder."""
    home = home_of(order.spec)
    if order.out is not None:
        return regular(order.out, "--out")
    if home is None:
        return None
    name, _, which = order.spec.partition(":")
    which = which or ("best" if find_training(name) else "final")
    file = below(home / "tests", f"{which}-{order.protocol}-{views}.json")
    inside(home, file)
    return file


def locked(place: Path, begin: Callable[[], File], passing: bool = True) -> Kept[File]:
    """The scores that `begin` opens there. passing: for a resume alone. Raises EnvironmentFault: in use."""
    lock = taken(place)
    try:
        return Kept(begin(), place if passing else None, lock)
    except BaseException:
        lock.give_up()
        raise


def device_of(name: str | None) -> torch.device:
    """The one that is named, or a GPU if there is one. Raises UsageError where nothing can be computed."""
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        if device.type not in DEVICES:
            raise UsageError(f"--device {name}: nothing is computed there; take cpu, cuda or cuda:1")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: {first_line(error)}") from None
    return device


def _scorer(
    order: Evaluation, loaded: Loaded, views: Any, config: DataConfig, device: torch.device
) -> Scorer:
    uncached = replace(config, cache_gb=0.0)
    look = Look(loaded.spec, views, order.protocol)
    quick = for_inference(loaded.network.to(device), loaded.spec)
    average = order.average or usual_average(loaded.multi_label)
    return Scorer(quick, look, average, order.batch, order.workers, lambda: decoder(uncached, ""),
                  loaded.multi_label)  # fmt: skip


def _scores_path(order: Evaluation, out: Path | None) -> Path | None:
    """Where scores go as they come."""
    path = regular(order.dump, "--dump-scores") if order.dump else out and out.with_suffix(".scores.jsonl")
    if path is None and order.resume:
        raise UsageError("--resume needs the --out or --dump-scores of the test that was stopped")
    return path


def _head(scorer: Scorer, data: HeldOut, identity: str) -> dict[str, Any]:
    """What the scores belong to."""
    look = scorer.how
    head: dict[str, Any] = {
        "task": "several labels" if data.videos.multi_label else "classification",
        "checkpoint": identity, "spec": str(look.spec), "protocol": look.protocol,
        "views": str(look.views), "average_clips": scorer.average, "data": data.fingerprint,
    }  # fmt: skip
    if look.protocol == "mmaction2":  # tells these scores from those of versions that took 192 for X3D-S
        head["short_side"] = short_side(look.protocol, look.spec)
    return head
