"""The columns of every table: name, type, unit and meaning, told once for code, pages and readers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd

from expander.specs.cost_kinds import Cost
from expander.specs.spec import AXES, Spec

Row = dict[str, Any]
"""Values by column name."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column. dtype: of pandas."""

    dtype: str
    name: str
    meaning: str


text, real, whole, truth = (partial(Column, dtype) for dtype in ("string", "float64", "Int64", "bool"))
"""Kinds of columns. What is missing is "" in a text, NaN in a real and NA in a whole one."""

RUN = text("run", "the run's name")
STEP = whole("step", "0 is the base")
KIND = text("kind", "base, expansion or contraction")
AXIS = text("axis", "the axis that was expanded")
SPEC = text("spec", "frames x stride, crop, channels and blocks of each stage")
SPEC_ID = text("spec_id", "hash of the spec")
PRICE = (
    whole("cost", "multiply-adds of one view at the training crop"),
    whole("params", "parameters"),
    whole("activations", "outputs of convolutions and linears, one view"),
)
RATIO = real("ratio", "cost over the cost of the step before")
FACTORS = tuple(real(axis, f"factor of the {axis} axis over the base") for axis in AXES)
MEASURE = text("measure", "what accuracy is: accuracy, or mAP of several labels a video and of detection")
ACCURACY = real("accuracy", "share of validation videos right (video_top1), or of several labels mAP: of "
                            "proxy trainings, mean over seeds")
LOSS = real("loss", "validation cross-entropy (binary of several labels), mean over seeds")
SECONDS = real("seconds", "wall time of the trainings together, s")
INTERVAL = (
    real("low", "lower end of the interval of the lead"),
    real("high", "upper end of the interval of the lead"),
)

STEPS = (
    RUN, STEP, KIND, AXIS, SPEC, SPEC_ID,
    whole("frames", "frames of a clip"),
    whole("stride", "source frames from one frame of the clip to the next"),
    whole("crop", "height and width of a training clip, pixels"),
    text("widths", "channels of each stage"),
    text("inner_widths", "bottleneck channels of each stage"),
    text("depths", "blocks of each stage"),
    *FACTORS, *PRICE, RATIO,
    whole("seeds", "trainings of the chosen candidate"),
    MEASURE, ACCURACY,
    real("accuracy_low", "lower end of a 95 % interval of it, over videos and seeds (Wilson; of mAP normal)"),
    real("accuracy_high", "upper end of it"),
    text("runner_up", "the axis that came second"),
    real("lead", "score over the runner-up's: accuracy gained per doubling of cost, or accuracy, as "
                 "selection.score says"),
    *INTERVAL,
    truth("tie", "whether the interval of the lead includes 0"),
    SECONDS,
)  # fmt: skip
"""Of `steps`: one row a decided step."""

TRIALS = (
    RUN, STEP, KIND, AXIS,
    text("trial", "id; its folder is RUN/trials/<id>"),
    whole("seed", "of weights, order, crops and flips"),
    whole("until", "the optimiser step it stopped at, a rung; missing: it ran to its end"),
    SPEC, SPEC_ID, *PRICE, RATIO,
    text("state", "finished, rung (stopped at one), failed, or open (running or waiting)"),
    MEASURE,
    real("accuracy", "share of validation videos right, or mAP"),
    real("loss", "validation cross-entropy, binary of several labels"),
    real("train_loss", "the last training loss"),
    whole("videos", "validation videos"),
    whole("clips", "training clips seen"),
    real("seconds", "wall time, s"),
    real("clips_per_second", "training clips over the wall time, 1/s"),
    real("data_wait", "share of the time of the training spent waiting for clips; missing: not measured"),
    whole("bad_videos", "unreadable videos replaced or counted as wrong"),
    text("ended", "when its result was written, UTC, ISO 8601"),
    text("reason", "why it failed"),
)  # fmt: skip
"""Of `trials`: one row a training of a candidate with one seed."""

DECISIONS = (
    RUN, STEP, KIND, AXIS, SPEC, SPEC_ID, *PRICE, RATIO,
    real("latency", "measured time of one view, ms; missing where it was not measured"),
    whole("seeds", "trainings that gave a result"),
    MEASURE, ACCURACY, LOSS,
    real("score", "what candidates are ranked by: accuracy gained per doubling of cost, or accuracy"),
    real("behind", "the winner's score minus this one's"),
    *INTERVAL,
    truth("tie", "whether that interval includes 0"),
    SECONDS,
    truth("decided", "whether its step is decided"),
    truth("chosen", "whether it won its step"),
    text("reason", "why it was rejected, stopped or failed"),
)  # fmt: skip
"""Of `decisions`: one row a candidate of every step, the losing, failed and rejected ones too."""

FRONTIER = (
    RUN, STEP, AXIS, SPEC, SPEC_ID, *PRICE, MEASURE, ACCURACY,
    truth("best", "whether no candidate of any of the runs of its measure is both cheaper and more accurate"),
)  # fmt: skip
"""Of `frontier`: of each run the candidates that no other of it beats in both cost and accuracy."""

BASELINES = (
    RUN,
    text("kind", "random, compound or single-axis"),
    text("name", "of the baseline"),
    SPEC, SPEC_ID, *PRICE,
    whole("seeds", "trainings"),
    MEASURE, ACCURACY, LOSS, SECONDS,
)  # fmt: skip
"""Of `baselines`: networks of comparable cost found without the search."""

TRAININGS = (
    text("run", "the training's name"),
    SPEC, SPEC_ID, *PRICE,
    text("state", "running, finished or stopped"),
    whole("epochs", "validated so far"),
    whole("best_epoch", "the epoch with the best validation"),
    real("best_video_top1", "share of validation videos right at the best epoch, 0 to 1"),
    real("video_top1", "the same at the last validation"),
    real("best_mAP", "mAP at the best epoch, of several labels or of detection"),
    real("mAP", "the same at the last validation"),
    real("val_loss", "cross-entropy at the last validation, binary where mAP is measured"),
    real("clips_per_second", "median of the training, 1/s"),
    real("data_wait", "mean share of the time spent waiting for data"),
)  # fmt: skip
"""Of `trainings`: one row a full training."""

TESTS = (
    RUN,
    text("test", "name of the file"),
    SPEC, SPEC_ID,
    text("protocol", "of the multi-view test"),
    whole("views", "clips times crops of a video"),
    whole("videos", "tested"),
    whole("failed", "videos that could not be read"),
    text("metric", "what was measured"),
    real("value", "of the metric, a share of 0 to 1"),
    real("low", "lower end of its 95 % interval (bootstrap over videos)"),
    real("high", "upper end of it"),
    whole("macs_per_video", "multiply-adds of all views of a video"),
    real("videos_per_second", "tested, 1/s"),
)  # fmt: skip
"""Of `tests`: one row a metric of a multi-view test."""


def frame(rows: Iterable[Mapping[str, Any]], columns: tuple[Column, ...]) -> pd.DataFrame:
    """The rows as a typed table with exactly these columns; what a row lacks is missing."""
    given = list(rows)
    return pd.DataFrame({c.name: _series([row.get(c.name) for row in given], c.dtype) for c in columns})


def spec_row(spec: Spec, cost: Cost) -> Row:
    """The columns SPEC, SPEC_ID and PRICE of a spec."""
    row = {SPEC.name: str(spec), SPEC_ID.name: spec.id}
    return {**row, "cost": cost.macs, "params": cost.params, "activations": cost.activations}


def _series(values: list[Any], dtype: str) -> pd.Series[Any]:
    if dtype == "string":
        values = ["" if value is None else str(value) for value in values]
    elif dtype == "bool":
        values = [bool(value) for value in values]
    return pd.Series(values, dtype=dtype)
