"""The options that several commands share: where the videos are, and what a network may cost."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from expander.config.bounds import MOST
from expander.config.reading import absolute
from expander.data.store.addresses import address_of, checked
from expander.errors import UsageError
from expander.specs.spec import shown
from expander.video.filenames import check_name

if TYPE_CHECKING:
    from expander.data.annotations import Label, VideoData
    from expander.data.ava.keyframes import DetectionSplit
    from expander.data.tasks import TaskData
    from expander.engine.preparation import Goal
F = TypeVar("F", bound=Callable[..., Any])
KINDS = ("flops", "params", "activations", "latency", "memory")
LIMITS = {"flops": "max_gflops", "params": "max_params", "activations": "max_activations",
          "latency": "max_latency_ms", "memory": "max_memory_mb"}  # fmt: skip
COST_OPTIONS = ("target", "cost", "amount", *LIMITS.values())


def goal_options(command: F) -> F:
    """Adds the options below to a command."""
    options = [
        click.option("--target-gflops", "target", type=float,
                     help="Budget in GFLOPs: 1e9 multiply-adds of conv and linear a view, training crop."),
        click.option("--cost", type=click.Choice(KINDS),
                     help="The cost that every step doubles.  [default: flops]"),
        click.option("--target", "amount", type=float,
                     help="Budget for another --cost, in its unit: parameters, activations, ms, MB."),
        click.option("--max-gflops", type=float, help="Reject candidates of more GFLOPs."),
        click.option("--max-params", type=float, help="Of more parameters, e.g. 4e6."),
        click.option("--max-activations", type=float, help="Of more activations."),
        click.option("--max-latency-ms", type=float,
                     help="Of a longer inference of one view, measured here (median)."),
        click.option("--max-memory-mb", type=float, help="That hold more MB in the inference of one view."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def goal_of(options: dict[str, Any]) -> Goal:
    """What was asked for. Raises UsageError naming the option at fault."""
    from expander.config.ceilings import Ceilings
    from expander.engine.preparation import Goal

    most = {kind: options[name] for kind, name in LIMITS.items()}
    for kind, name in LIMITS.items():
        if most[kind] is not None:
            _positive(f"--{name.replace('_', '-')}", most[kind])
    if most["flops"] is not None:
        most["flops"] *= 1e9
    return Goal(options["cost"] or "flops", target_of(options), Ceilings(**most))


def target_of(options: dict[str, Any]) -> float:
    """The target in the unit of the cost. Raises UsageError."""
    kind, gflops, amount = options["cost"] or "flops", options["target"], options["amount"]
    if kind == "flops" and amount is not None:
        raise UsageError("--target goes with another --cost; for multiply-adds give --target-gflops")
    if kind != "flops" and gflops is not None:
        raise UsageError(f"--target-gflops is for --cost flops; for --cost {kind} give --target")
    if gflops is None and amount is None:
        example = "--target-gflops 2" if kind == "flops" else f"--cost {kind} --target 20"
        name = "--target-gflops" if kind == "flops" else "--target"
        raise UsageError(f"{name} is missing: the budget, e.g. {example}")
    return target_macs(gflops) if kind == "flops" else _positive("--target", amount)


def target_macs(gflops: float) -> int:
    """GFLOPs as given on the command line to multiply-adds. Raises UsageError."""
    return round(_positive("--target-gflops", gflops) * 1e9)


def _positive(option: str, value: float) -> float:
    if not (math.isfinite(value * 1e9) and value > 0):
        raise UsageError(f"{option} must be a positive number, not {value}")
    return value




class Whole(click.IntRange):
    """A whole number from `least` to what `config.bounds` says is the most of that name."""

    def __init__(self, name: str, least: int = 1) -> None:
        super().__init__(min=least, max=MOST[name].value)
        self.why = MOST[name].why

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        number = click.INT.convert(value, param, ctx)
        if self.max is not None and number > self.max:
            self.fail(f"{shown(number)} is more than {self.max:,} ({self.why})", param, ctx)
        return super().convert(value, param, ctx)


class Seconds(click.FloatRange):
    """More than none, up to a day; a range alone takes nan, which is neither less nor more than anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        found = super().convert(value, param, ctx)
        return self.fail(f"{value} is no number of seconds", param, ctx) if math.isnan(found) else found


BACKENDS = ("ray", "processes", "inline")
SECONDS = Seconds(min=0, min_open=True, max=86_400)
FORMATS = ("auto", "list", "multilabel", "rawframes", "kinetics", "expander", "ssv2", "ucf101", "hmdb51",
           "charades", "charades_frames", "folders")  # fmt: skip
DATA_OPTIONS = ("folder", "train_ann", "val_ann", "data_root", "train_root", "val_root", "ann_format",
           "allow_outside")  # fmt: skip
LIST_OPTIONS = (
    click.option("--train-ann", help="The same of the training videos: lines of `path label` and others."),
    click.option("--val-ann", help="Annotation file of the validation videos, or a pattern of shards."),
    click.option("--data-root", help="Folder that the listed paths start from.  [default: the data folder]"),
    click.option("--train-root", help="Of the training list alone.  [default: --data-root]"),
    click.option("--val-root", help="Of the validation list alone.  [default: --data-root]"),
    click.option("--ann-format", type=click.Choice(FORMATS), help="Of the annotations.  [default: auto]"),
    click.option("--allow-outside", is_flag=True, default=None, help="Listed paths may leave the data root."),
)
FOLDER = click.option("--data", "folder", help="Folder of lists, class folders or shards, or a pattern: "
                      "'name-{train,val}-{000000..000123}.tar'.  [default: embedded data]")  # fmt: skip


def data_options(command: F) -> F:
    """Adds --data and all of LIST_OPTIONS."""
    for option in reversed((FOLDER, *LIST_OPTIONS)):
        command = option(command)
    return command


def data_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The data settings that the options say, with absolute paths: workers run in folders of their own.

    Raises DataError for a path that no file can have.
    """
    places = {name: options[name] for name in ("folder", "train_ann", "val_ann", "train_root", "val_root")}
    places["root"] = options["data_root"]
    found: dict[str, Any] = {
        name: _place(value) for name, value in places.items() if value is not None
    }
    for place in found.values():
        check_name(place)
    if options["allow_outside"]:
        found["allow_outside"] = True
    rooted = "root" in found or {"train_root", "val_root"} <= set(found)
    remote = any(address_of(found.get(name, "")) for name in ("train_ann", "val_ann"))
    if not rooted and not remote and ("train_ann" in found or "val_ann" in found):
        found["root"] = str(absolute("."))
        found["allow_outside"] = True  # no root was named that they could leave
    if options["ann_format"]:
        found["ann_format"] = options["ann_format"]
    return found


def _place(value: str) -> str:
    """An address as it is, anything else from the root of the system."""
    address = address_of(value)
    return str(absolute(value)) if address is None else checked(address)


def describe_data(data: TaskData) -> str:
    """What was recognised: format, counts, and the first three rows."""
    from expander.data.ava.keyframes import DetectionData

    if isinstance(data, DetectionData):
        return "\n".join([f"data (detection): {len(data.classes)} classes, {len(data.evaluated)} evaluated",
                          *(f"  {name}: {_people(split)}" for name, split in (("training", data.train),
                                                                            ("validation", data.val)))])
    head = (
        f"data ({data.form}): {len(data.train)} training and {len(data.val)} validation videos "
        f"of {len(data.classes)} classes{', several labels a video' if data.multi_label else ''}"
    )
    rows = zip(data.train.paths[:3], data.train.labels[:3], strict=True)
    return "\n".join([head, *(f"  {path} -> {_named(label, data)}" for path, label in rows)])


def _people(split: DetectionSplit) -> str:
    from expander.data.inspection import PeopleCounts

    counts = PeopleCounts.of(split)
    found = "no boxes of a detector: those of the ground truth are tested"
    if counts.detected is not None:
        found = f"{counts.detected} boxes of a detector"
    return (f"{counts.key_frames} key frames of {counts.videos} videos, {counts.boxes} boxes with "
            f"{counts.labels} labels; {found}")  # fmt: skip


def _named(label: Label, data: VideoData) -> str:
    from expander.data.annotations import numbers_of

    return ", ".join(f"{number} {data.classes[number]}" for number in numbers_of(label)) or "no label"
