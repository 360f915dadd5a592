"""data make, index, check and prepare: the embedded set, formats into ours, bad files, small copies."""

from __future__ import annotations

import json
import re
from collections import Counter as Tally
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Group
from expander.cli.options import LIST_OPTIONS, Whole, data_settings, describe_data
from expander.cli.output.terminal import say
from expander.config.reading import absolute
from expander.errors import DataError, UsageError
from expander.video.filenames import printable

if TYPE_CHECKING:
    from expander.config.settings import DataConfig, Task


@click.group(cls=Group)
def data() -> None:
    """Data sets."""


@data.command()
@click.option("--task", type=click.Choice(["classification", "detection"]), default="classification",
              show_default=True, help="Videos of one person and a class, or of several people with boxes.")
def make(task: Task) -> None:
    """Make the embedded data set (once; it is cached) and print its folder."""
    from expander.cli.output.terminal import Counter
    from expander.data.sources import embedded, embedded_detection

    with Counter("making the embedded videos", "video") as counter:
        folder = embedded_detection(counter) if task == "detection" else embedded(counter)
    say(folder)


def _lists(command: Any) -> Any:
    for option in reversed((click.argument("folder", metavar="DATA", required=False), *LIST_OPTIONS)):
        command = option(command)
    return command


def _config(options: dict[str, Any]) -> DataConfig:
    from expander.config.settings import DataConfig

    if options["folder"] is None and options["train_ann"] is None:
        raise UsageError("name the data: DATA, a folder, or --train-ann and --val-ann")
    try:
        return DataConfig(**data_settings(options))
    except ValueError as error:
        raise UsageError(str(error)) from None


@data.command()
@_lists
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="CSV to write.")
def index(out: Path, **options: Any) -> None:
    """Write the annotations of DATA as one CSV (path,label,class,split) that --data takes.

    Of several labels a video its columns are path,labels,classes,split, joined by semicolons.
    """
    from expander.data.index import to_csv
    from expander.data.sources import open_data
    from expander.runs.targets import write_out

    found = open_data(_config(options))
    say(describe_data(found))
    write_out(out, to_csv(found, absolute(out.parent)).encode())
    say(f"index: {out}")


@data.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="CSV to write.")
def proposals(file: Path, out: Path) -> None:
    """Write MMAction2's proposals FILE.pkl, boxes of people, as a CSV of detections in AVA's columns.

    Beside the lists of --task detection, `detect` and `train` or `val` in its name, it is read with them.
    """
    from expander.data.ava.proposals import to_csv
    from expander.runs.targets import write_out

    text, frames, boxes = to_csv(file)
    write_out(out, text.encode())
    say(f"detections: {out}, {boxes} boxes at {frames} key frames")


@data.command()
@_lists
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
def check(as_json: bool, **options: Any) -> None:
    """Read the packets of every video of DATA once (cached): who can decode it, which are no good.

    Of a folder with lists of boxes also what is in them. Exit code 3 when a video is missing or cannot be
    decoded.
    """
    from expander.cli.output.terminal import Counter
    from expander.data.ava.keyframes import DetectionData
    from expander.data.inspection import examined, outside, people
    from expander.data.tasks import open_for, task_of
    from expander.video.probe import NO_DECORD

    config = _config(options)
    found = open_for(task_of(config), config)
    counts = people(found)
    if counts and not as_json:
        say(describe_data(found))
    with Counter("checking the videos", "video") as counter:
        verdicts = examined(found, config, counter)
    rows = [{"path": str(path), "route": verdict.route, "reason": verdict.reason}
            for path, verdict in verdicts]  # fmt: skip
    bad = [row for row in rows if row["route"] == "bad"]
    lacking = any(row["reason"] == NO_DECORD for row in rows)
    routes = dict(Tally(row["route"] for row in rows))
    if as_json:
        summary = {"videos": len(rows), "bad": len(bad), "routes": routes, "rows": rows}
        say(json.dumps({**summary, **{name: asdict(each) for name, each in counts.items()}}, indent=1))
    else:
        _print([row for row in rows if row["reason"] != NO_DECORD])  # of all of them, and told once
        if not bad:
            say(f"{len(rows)} videos, all can be decoded")
        counted = "; ".join(f"{count} {ROUTES[route]}" for route, count in routes.items())
        say(counted + (f" ({NO_DECORD} here)" if lacking else ""))
    if bad:
        raise DataError(f"{len(bad)} of {len(rows)} videos cannot be decoded, the first is {bad[0]['path']}")
    if missing := [name for each in counts.values() for name in each.missing]:
        raise DataError(f"{len(missing)} videos of the lists are not on disk, the first is {missing[0]}")
    if isinstance(found, DetectionData) and (faults := outside(found, config)):
        raise DataError(f"{faults[0]}; {len(faults)} key frames are outside of their videos")


class Size(click.ParamType[int]):
    """Bytes, such as 500MB or 2GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """See click.ParamType."""
        found = re.fullmatch(r"([0-9]{1,9})(MB|GB)", str(value), re.IGNORECASE)
        size = int(found[1]) * {"MB": 10**6, "GB": 10**9}[found[2].upper()] if found else 0
        return size or self.fail(f"{value} is no size, such as 500MB or 2GB", param, ctx)


@data.command()
@_lists
@click.option("--out", type=click.Path(path_type=Path), required=True,
              help="Folder of the prepared videos; the same again goes on.")
@click.option("--space", default="x3d", show_default=True,
              help="Search space whose largest crop decides on the short side.")
@click.option("--short-side", type=click.IntRange(min=16), help="In place of that, in pixels.")
@click.option("--gop", type=click.IntRange(1, 250), default=8, show_default=True,
              help="Frames from key frame to key frame.")
@click.option("--crf", type=click.IntRange(0, 51), default=21, show_default=True,
              help="Quality of x264; less is better.")
@click.option("--shards", type=Size(), is_flag=False, flag_value="1GB",
              help="Shards of this size (1GB if none is named) in place of single files: WebDataset tars.")
@click.option("--workers", type=Whole("workers"), help="Processes.  [default: the CPUs]")
@click.option("--ray-address", help="Running Ray cluster: auto, or HEAD:6379.  [default: processes here]")
@click.option("--verify", is_flag=True, help="Compare what is prepared already with its checksums.")
@click.option("--dry-run", is_flag=True, help="Only what it takes: disk and time. Writes nothing.")
def prepare(out: Path, **options: Any) -> None:
    """Prepare every video of DATA once for quick reading: small, H.264, a key frame every few frames.

    The result is a data set for --data. Exit code 4 when sources could not be prepared: damaged.csv in it
    has them with the reasons.
    """
    from expander.cli.output.terminal import Counter, about, going_on
    from expander.engine import prepare as engine

    def tell(plan: engine.Plan) -> None:
        say(f"short side {plan.how.short_side}: crops up to {plan.crop}")
        copies = f"and {plan.copies / 1e9:.2f} GB for copies of originals, " if plan.copies else ""
        say(f"{plan.left} of {plan.videos} videos are left: about {plan.bytes / 1e9:.2f} GB, "
                   f"{copies}{plan.free / 1e9:.1f} GB are free; {about(plan.seconds)}")  # fmt: skip

    order = engine.PrepareOrder(
        _config(options), out, options["space"], options["short_side"], options["gop"], options["crf"],
        options["verify"], options["workers"], options["ray_address"],
        options["shards"],
    )  # fmt: skip
    kept = going_on(not options["dry_run"], "what is prepared is kept, the same command")
    with kept, Counter("preparing the videos", "video", timed=True) as counter:
        made = engine.prepare(order, lambda found: say(describe_data(found)), tell, counter,
                              options["dry_run"])  # fmt: skip
    if made is None:
        say("dry run: nothing was written")
        return
    say(f"{made.videos - len(made.damaged)} of {made.videos} videos are in {made.folder}: "
               f"{made.bytes / 1e9:.3f} GB, the originals {made.source_bytes / 1e9:.3f} GB")  # fmt: skip
    if made.resampled:
        say(f"{made.resampled} of variable frame rate have a constant one now: the manifest has the "
                   "source's frame of each")  # fmt: skip
    if made.damaged:
        first, reason = next(iter(made.damaged.items()))
        say(printable(f"{len(made.damaged)} could not be prepared, the first is {first}: {reason}; "
                             f"all are in {made.folder / 'damaged.csv'}"), err=True)  # fmt: skip
        raise SystemExit(4)


ROUTES = {
    "decord": "read with decord",
    "pyav": "read from the start with PyAV",
    "pictures": "folders of pictures",
    "bad": "not read",
}


def _print(rows: list[dict[str, str]]) -> None:
    for row in rows:
        if row["reason"] and row["route"] != "decord":
            route = "read with PyAV: " if row["route"] == "pyav" else ""
            say(printable(f"{row['path']}: {route}{row['reason']}"))
