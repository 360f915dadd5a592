"""The options that say where the videos are, shared by all commands that read videos."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from expander.data.names import check_name

if TYPE_CHECKING:
    from expander.data.annotations import VideoData

Command = TypeVar("Command", bound=Callable[..., Any])



class Seconds(click.FloatRange):
    """More than none, up to a day; a range alone takes nan, which is neither less nor more than anything."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        found = super().convert(value, param, ctx)
        return self.fail(f"{value} is no number of seconds", param, ctx) if math.isnan(found) else found


SECONDS = Seconds(min=0, min_open=True, max=86_400)
FORMATS = ("auto", "list", "rawframes", "kinetics", "expander", "ssv2", "ucf101", "hmdb51", "folders")
OPTIONS = ("folder", "train_ann", "val_ann", "data_root", "train_root", "val_root", "ann_format",
           "allow_outside")  # fmt: skip
LISTS = (
    click.option("--train-ann", help="Annotation file of the training videos, e.g. lines of `path label`."),
    click.option("--val-ann", help="Annotation file of the validation videos."),
    click.option("--data-root", help="Folder that the listed paths start from.  [default: the data folder]"),
    click.option("--train-root", help="Of the training list alone.  [default: --data-root]"),
    click.option("--val-root", help="Of the validation list alone.  [default: --data-root]"),
    click.option("--ann-format", type=click.Choice(FORMATS), help="Of the annotations.  [default: auto]"),
    click.option("--allow-outside", is_flag=True, default=None, help="Listed paths may leave the data root."),
)
FOLDER = click.option("--data", "folder", help="Folder of lists or class folders.  [default: embedded data]")


def data_options(command: Command) -> Command:
    """Adds --data and all of LISTS."""
    for option in reversed((FOLDER, *LISTS)):
        command = option(command)
    return command


def given(options: dict[str, Any]) -> dict[str, Any]:
    """The data settings that the options say, with absolute paths: workers run in folders of their own.

    Raises DataError for a path that no file can have.
    """
    places = {name: options[name] for name in ("folder", "train_ann", "val_ann", "train_root", "val_root")}
    places["root"] = options["data_root"]
    found: dict[str, Any] = {
        name: str(Path(value).resolve()) for name, value in places.items() if value is not None
    }
    for place in found.values():
        check_name(place)
    if options["allow_outside"]:
        found["allow_outside"] = True
    rooted = "root" in found or {"train_root", "val_root"} <= set(found)
    if "train_ann" in found and not rooted:
        found["root"] = str(Path.cwd())
        found["allow_outside"] = True  # no root was named that they could leave
    if options["ann_format"]:
        found["ann_format"] = options["ann_format"]
    return found


def describe(data: VideoData) -> str:
    """What was recognised: format, counts, and the first three rows."""
    head = (
        f"data ({data.form}): {len(data.train)} training and {len(data.val)} validation videos "
        f"of {len(data.classes)} classes"
    )
    rows = zip(data.train.paths[:3], data.train.labels[:3], strict=True)
    return "\n".join([head, *(f"  {path} -> {label} {data.classes[label]}" for path, label in rows)])
