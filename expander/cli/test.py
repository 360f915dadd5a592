"""test: the multi-view test of a network, with MMAction2's flags."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expander.cli.options import SECONDS, data_options, data_settings
from expander.errors import DataError, UsageError

if TYPE_CHECKING:
    from expander.config.settings import DataConfig
    from expander.data.test_list import HeldOut
    from expander.evaluation.multiview import Outcome, Scorer
    from expander.evaluation.scores import ScoreFile
    from expander.weights.safetensors_file import Loaded

FILE = click.Path(path_type=Path, dir_okay=False)
PROTOCOLS = ("expander", "slowfast", "mmaction2", "mmaction2-0.x", "pytorchvideo")
METRICS = ("top_k_accuracy", "mean_class_accuracy")
SEVERAL: dict[str, Callable[[str], bool]] = {"--eval": METRICS.__contains__, "--topk": str.isdecimal}
"""Options that take one value or more, as MMAction2's do, and what is a value of theirs."""


class SeveralValues(click.Command):
    """A command whose options in SEVERAL take several values: `--topk 1 5` is `--topk 1 --topk 5`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """See click.Command."""
        return super().parse_args(ctx, repeated(args))


def repeated(args: Sequence[str]) -> list[str]:
    """Arguments with the name of an option in SEVERAL before each of its values."""
    found: list[str] = []
    name = ""
    for number, argument in enumerate(args):
        first = number > 0 and args[number - 1] in SEVERAL
        if name and not first and SEVERAL[name](argument):
            found.append(name)
        elif not first:
            name = argument if argument in SEVERAL else ""
        found.append(argument)
    return found


@click.command(cls=SeveralValues)
@click.argument("spec")
@click.argument("checkpoint", required=False)
@click.option("--key", help="Where in CHECKPOINT the network is, such as model_ema.  [default: found]")
@data_options
@click.option("--eval", "metrics", multiple=True, type=click.Choice(METRICS), default=METRICS,
              help="One or more.  [default: both]")
@click.option("--topk", multiple=True, type=click.IntRange(min=1), default=(1, 5), show_default=True)
@click.option("--views", default="10", show_default=True, metavar="10|30|KxM",
              help="10: 10 clips at the centre; 30: 10 clips of 3 crops; K clips of M crops (1 or 3).")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="expander", show_default=True,
              help="Whose clips, crops, resizing and pooling; mmaction2 is its 1.x.")
@click.option("--average-clips", "average", type=click.Choice(["prob", "score"]), default="prob",
              show_default=True, help="Mean over views of probabilities or of logits.")
@click.option("--out", type=FILE, help="Result as JSON; the confusion matrix beside it as CSV and PNG.")
@click.option("--dump-scores", "dump", type=FILE, help="Scores of every video, one JSON line each.")
@click.option("--resume", is_flag=True, help="Go on with a test that was stopped (of the same --out).")
@click.option("--allow-missing", is_flag=True, help="Exit 0 although videos are missing or unreadable.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: cuda if there is one]")
@click.option("--batch", type=click.IntRange(min=1), default=10, show_default=True, help="Views at a time.")
@click.option("--workers", type=click.IntRange(min=0), default=1, show_default=True,
              help="Videos decoded ahead of the network.")
@click.option("--decode-timeout", "timeout", type=SECONDS,
              help="Seconds that a video may take to decode.  [default: the run's, or 60]")  # fmt: skip
def test(spec: str, checkpoint: str | None, **options: Any) -> None:
    """Test the network SPEC with the weights CHECKPOINT on the validation videos.

    SPEC is a published name, a YAML file, RUN, RUN:step3 or RUN:final; a run brings its own weights and
    data. CHECKPOINT is a .safetensors file, or a checkpoint of SlowFast, PyTorchVideo or MMAction2.

    The scores of a test that was stopped are never overwritten: go on with --resume, or delete them. A
    test that ended may be repeated; its result and its scores are then replaced.
    """
    from expander.video.protocols import parse_views

    views = parse_views(options["views"])
    key: str | None = options.pop("key")
    loaded, path = _weights(spec, checkpoint, key)
    identity = f"{loaded.sha256} {key}" if key else loaded.sha256  # one file may hold several networks
    config, data = _data(spec, options, loaded)
    out = _result_path(spec, options, str(views))
    scorer = _scorer(loaded, views, config, options)
    file, kept = _score_file(out, scorer, data, identity, options)
    outcome = _run(scorer, data, file)
    if len(outcome.failed) == len(data.names) + len(data.lost):
        first = ": ".join(outcome.failed[0])
        raise DataError(f"none of the {len(outcome.failed)} videos can be read, the first is {first}")
    from expander.evaluation.result import summary

    topk = tuple(dict.fromkeys(options["topk"]))
    found = summary(scorer, data, outcome, loaded.classes, options["metrics"], topk)
    origin = {"path": str(path), "sha256": loaded.sha256} | ({"key": key} if key else {})
    found = {**found, "checkpoint": origin}
    _show(found, scorer, outcome)
    if out is not None:
        _write(out, found, spec)
    if file is not None and not kept and not outcome.failed:
        file.path.unlink()
    if outcome.failed and not options["allow_missing"]:
        click.echo(f"{found['n_failed']} videos failed; --allow-missing accepts that", err=True)
        raise SystemExit(4)


def _weights(spec: str, checkpoint: str | None, key: str | None) -> tuple[Loaded, Path]:
    from expander.engine.references import find_spec, find_weights
    from expander.weights.foreign import load_foreign
    from expander.weights.safetensors_file import load_weights

    wanted = find_spec(spec)
    path = find_weights(checkpoint or spec)
    if checkpoint is None and path.suffix != ".safetensors":
        raise UsageError(f"CHECKPOINT is missing: the weights of {spec}; only a run brings its own")
    if path.suffix == ".safetensors":
        if key is not None:
            raise UsageError(f"--key {key}: {path} is ours; only checkpoints of other libraries have keys")
        return load_weights(path, wanted), path
    return load_foreign(path, wanted, key, lambda note: click.echo(note, err=True)), path


def _data(spec: str, options: dict[str, Any], loaded: Loaded) -> tuple[DataConfig, HeldOut]:
    """The data that the options name, or the run's, or the embedded videos."""
    from expander.cli.progress import Counter
    from expander.config.settings import DataConfig
    from expander.data.sources import embedded
    from expander.data.test_list import open_held_out
    from expander.engine.references import data_of

    if options["val_ann"] and not options["train_ann"]:
        options = {**options, "train_ann": options["val_ann"]}  # a test can do without a training list
    given = data_settings(options)
    if not given and (own := data_of(spec)):
        config = own
    else:
        try:
            config = DataConfig(**given)
        except ValueError as error:
            raise UsageError(str(error)) from None
    if config.folder is None and config.train_ann is None:
        with Counter("making the embedded videos (once)", "video") as counter:
            embedded(counter)
    if options["timeout"] is not None:
        from dataclasses import replace

        config = replace(config, decode_timeout=options["timeout"])
    return config, open_held_out(config, loaded.classes)


def _result_path(spec: str, options: dict[str, Any], views: str) -> Path | None:
    """--out, or in the run folder."""
    from expander.engine.references import find_training, home_of

    home = home_of(spec)
    if options["out"] is not None or home is None:
        out: Path | None = options["out"]
        return out
    name, _, which = spec.partition(":")
    which = which or ("best" if find_training(name) else "final")
    return home / "tests" / f"{which}-{options['protocol']}-{views}.json"


def _scorer(loaded: Loaded, views: Any, config: DataConfig, options: dict[str, Any]) -> Scorer:
    from dataclasses import replace

    import torch

    from expander.data.sources import decoder
    from expander.evaluation.multiview import Scorer, for_inference
    from expander.video.views import Look

    name = options["device"] or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        network = loaded.network.to(torch.device(name))
    except (RuntimeError, AssertionError) as error:
        raise UsageError(f"--device {name}: {str(error).splitlines()[0]}") from None
    uncached = replace(config, cache_gb=0.0)
    look = Look(loaded.spec, views, options["protocol"])
    quick, ahead = for_inference(network, loaded.spec), options["workers"]
    return Scorer(quick, look, options["average"], options["batch"], ahead,
                  lambda: decoder(uncached, ""))  # fmt: skip


def _score_file(
    out: Path | None, scorer: Scorer, data: HeldOut, identity: str, options: dict[str, Any]
) -> tuple[ScoreFile | None, bool]:
    """Where scores go as they come, and whether the file is to stay."""
    from expander.evaluation.scores import ScoreFile
    from expander.video.protocols import short_side

    path = options["dump"] or (out and out.with_suffix(".scores.jsonl"))
    if path is None:
        if options["resume"]:
            raise UsageError("--resume needs the --out or --dump-scores of the test that was stopped")
        return None, False
    look = scorer.how
    head = {
        "schema": 1, "checkpoint": identity, "spec": str(look.spec), "protocol": look.protocol,
        "views": str(look.views), "average_clips": scorer.average, "data": data.fingerprint,
    }  # fmt: skip
    if look.protocol == "mmaction2":  # tells these scores from those of versions that took 192 for X3D-S
        head["short_side"] = short_side(look.protocol, look.spec)
    return ScoreFile(path, head, len(set(data.names)), options["resume"]), options["dump"] is not None


def _run(scorer: Scorer, data: HeldOut, file: ScoreFile | None) -> Outcome:
    from expander.cli.progress import Counter

    try:
        with Counter("testing", "video") as counter:
            return scorer.run(data, file, counter)
    except (KeyboardInterrupt, SystemExit):
        if file is not None:
            click.echo("stopped; the same command with --resume goes on", err=True)
        raise


def _show(found: dict[str, Any], scorer: Scorer, outcome: Outcome) -> None:
    from expander.report.tables import macs_text
    from expander.video.protocols import view_crop

    look = scorer.how
    crop = view_crop(look.protocol, look.views.crops, look.spec)
    cost, videos = found["cost"], found["n"] + found["n_failed"]
    click.echo(f"{look.spec}: {look.views} views of {crop} pixels, protocol {look.protocol}, "
               f"{scorer.average} averaged")  # fmt: skip
    for name, row in found["metrics"].items():
        click.echo(f"{name:20} {row['value']:7.2%}  [{row['low']:.2%}, {row['high']:.2%}]")
    if len(labels := {row[0] for row in found["confusion"]}) == 1:
        name = found["classes"][labels.pop()]
        click.echo(f"one class            all are of {name}: accuracy is the recall of that class only")
    click.echo(f"videos               {found['n']} of {videos}, {found['n_failed']} failed")
    click.echo(f"multiply-adds        {macs_text(cost['macs_per_view'])} x {cost['views']} views = "
               f"{macs_text(cost['macs_per_video'])} a video")  # fmt: skip
    click.echo(f"time                 {outcome.seconds:.1f} s, {found['videos_per_second']:.2f} videos/s; "
               f"decoding {outcome.decoding:.1f} s")  # fmt: skip
    if (published := found["reference"]) is not None:
        click.echo(published_text(published))
    for row in found["failed"][:5]:
        click.echo(f"failed: {row['path']}: {row['reason']}", err=True)


def published_text(row: dict[str, Any]) -> str:
    """The published accuracy of the same network and views, and how it was measured."""
    how = f"protocol {row['protocol']}, {row['average_clips']} averaged"
    text = (f"published            {row['top1']:.1%} top-1 on {row['data']} ({row['model']}, {row['views']} "
            f"views, {how}, by {row['source']})")  # fmt: skip
    return text if row["comparable"] else f"{text}: measured otherwise than here, not to be compared"


def _write(out: Path, found: dict[str, Any], spec: str) -> None:
    """The result, and the confusion matrix as a table and a figure."""
    from io import BytesIO

    from expander.report.confusion import figure, matrix
    from expander.report.formats import csv_text
    from expander.runs.journal import write_atomic

    write_atomic(out.with_suffix(".confusion.csv"), csv_text(matrix(found).reset_index()).encode())
    width = min(12.0, 4.3 + 0.25 * len(found["classes"]))
    if (drawn := figure(found, width, f"{Path(spec).name}, {found['n']} videos")) is not None:
        png = BytesIO()
        drawn.savefig(png, format="png", dpi=120)
        write_atomic(out.with_suffix(".confusion.png"), png.getvalue())
    write_atomic(out, (json.dumps(found, indent=1) + "\n").encode())
    click.echo(f"result: {out}")
