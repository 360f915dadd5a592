"""test: the multi-view test of a network, with MMAction2's flags."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from expander.cli.help import Command
from expander.cli.options import DATA_OPTIONS, SECONDS, Whole, data_options, data_settings
from expander.cli.output.terminal import say
from expander.errors import UsageError

if TYPE_CHECKING:
    from expander.engine.against_originals import Tested
    from expander.engine.test import Evaluation, Prepared
    from expander.evaluation.multiview import Outcome, Scorer

FILE = click.Path(path_type=Path, dir_okay=False)
PROTOCOLS = ("expander", "slowfast", "mmaction2", "mmaction2-0.x", "pytorchvideo")
METRICS = ("top_k_accuracy", "mean_class_accuracy", "mean_average_precision")
SEVERAL: dict[str, Callable[[str], bool]] = {"--eval": METRICS.__contains__, "--topk": str.isdecimal}
"""Options that take one value or more, as MMAction2's do, and what is a value of theirs."""
SHORT = {"mean_average_precision": "mAP"}


class SeveralValues(Command):
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
@click.option("--task", type=click.Choice(["classification", "detection"]),
              help="Detection: frame mAP of people at key frames.  [default: the run's, or classification]")
@click.option("--min-score", "least", type=click.FloatRange(0, 1),
              help="Detection: least score of a detected person.  [default: data.test_score, 0.8]")
@click.option("--eval", "metrics", multiple=True, type=click.Choice(METRICS),
              help="One or more.  [default: both accuracies; of several labels the mean average precision]")
@click.option("--topk", multiple=True, type=Whole("topk"), default=(1, 5), show_default=True)
@click.option("--views", default="10", show_default=True, metavar="10|30|KxM",
              help="10: 10 clips at the centre; 30: 10 clips of 3 crops; K clips of M crops (1 or 3).")
@click.option("--protocol", type=click.Choice(PROTOCOLS), default="expander", show_default=True,
              help="Whose clips, crops, resizing and pooling; mmaction2 is its 1.x.")
@click.option("--average-clips", "average", type=click.Choice(["prob", "score", "max"]),
              help="Mean over views of probabilities or of logits, or the highest probability.  "
                   "[default: prob; of several labels max]")
@click.option("--out", type=FILE, help="Result as JSON; the confusion matrix beside it as CSV and PNG.")
@click.option("--dump-scores", "dump", type=FILE, help="Scores of every video, one JSON line each.")
@click.option("--originals", metavar="DATA",
              help="Folder of the originals of prepared videos: test them too, and say what the copies cost.")
@click.option("--resume", is_flag=True, help="Go on with a test that was stopped (of the same --out).")
@click.option("--allow-missing", is_flag=True, help="Exit 0 although videos are missing or unreadable.")
@click.option("--device", help="cpu, cuda, cuda:1.  [default: cuda if there is one]")
@click.option("--batch", type=Whole("batch"), default=10, show_default=True, help="Views at a time.")
@click.option("--workers", type=Whole("workers", 0), default=1, show_default=True,
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
    from expander.engine.references import task_of

    task, least = options.pop("task") or task_of(spec), options.pop("least")
    originals = options.pop("originals")
    if task == "detection":
        from expander.cli.detection import test as detect

        if originals:
            raise UsageError("--originals goes with a test of classes, not of detection")
        detect(spec, checkpoint, least, options)
        return
    if least is not None:
        raise UsageError("--min-score goes with --task detection")
    from expander.engine.test import Evaluation

    allowed = options.pop("allow_missing")
    own = {name: value for name, value in options.items() if name not in DATA_OPTIONS}
    order = Evaluation(spec, checkpoint, data=data_settings(options), **own)
    of_these = dict.fromkeys(DATA_OPTIONS) | {"folder": originals}
    failed = _carry_out(order, data_settings(of_these) if originals else None)
    if failed and not allowed:
        say(f"{failed} videos failed; --allow-missing accepts that", err=True)
        raise SystemExit(4)


def _carry_out(order: Evaluation, originals: dict[str, Any] | None) -> int:
    """Tests, shows and writes; returns how many videos failed."""
    from expander.cli.output.terminal import Counter, going_on
    from expander.engine.against_originals import carry_out_both, prepare_both
    from expander.report.confusion import write

    @contextmanager
    def shown(prepared: Prepared) -> Iterator[Counter]:
        with going_on(prepared.scores.file is not None), Counter("testing", "video") as counter:
            yield counter

    done: list[Tested] = []
    with ExitStack() as stack:
        with Counter("making the embedded videos (once)", "video") as making:
            both = prepare_both(order, originals, stack, making, lambda text: say(text, err=True))
        for one in carry_out_both(both, shown):
            if both.originals is not None:
                say("\nprepared:" if done else "originals:")
            _show(one.found, one.prepared.scorer, one.outcome)
            if (out := one.prepared.out) is not None:
                write(out, one.found, f"{Path(order.spec).name}, {one.found['n']} videos")
                say(f"result: {out}")
            done.append(one)
        if compared := one.found.get("originals"):
            _show_difference(compared)
        for one in done:
            one.prepared.scores.forget(len(one.outcome.failed))
    return max(len(one.outcome.failed) for one in done)


def _show_difference(compared: dict[str, Any]) -> None:
    """Prepared less original."""
    count = compared["videos"]
    if not count:
        say("\nno video can be read both prepared and as its original")
        return
    say(f"\nprepared less original, {count} videos; the likeliest class is the same in {compared['same']}")
    for name, row in compared["difference"].items():
        say(f"{SHORT.get(name, name):20} {100 * row['value']:+7.2f} points  "
            f"[{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]")  # fmt: skip


def _show(found: dict[str, Any], scorer: Scorer, outcome: Outcome) -> None:
    from expander.report.tables import macs_text
    from expander.video.view_protocols import view_crop

    look = scorer.how
    crop = view_crop(look.protocol, look.views.crops, look.spec)
    cost, videos = found["cost"], found["n"] + found["n_failed"]
    combined = "highest prob" if scorer.average == "max" else f"{scorer.average} averaged"
    say(f"{look.spec}: {look.views} views of {crop} pixels, protocol {look.protocol}, {combined}")
    for name, row in found["metrics"].items():
        say(f"{SHORT.get(name, name):20} {row['value']:7.2%}  [{row['low']:.2%}, {row['high']:.2%}]")
    if len(labels := {row[0] for row in found.get("confusion", ())}) == 1:
        name = found["classes"][labels.pop()]
        say(f"one class            all are of {name}: accuracy is the recall of that class only")
    say(f"videos               {found['n']} of {videos}, {found['n_failed']} failed")
    say(f"multiply-adds        {macs_text(cost['macs_per_view'])} x {cost['views']} views = "
               f"{macs_text(cost['macs_per_video'])} a video")  # fmt: skip
    say(f"time                 {outcome.seconds:.1f} s, {found['videos_per_second']:.2f} videos/s; "
               f"decoding {outcome.decoding:.1f} s")  # fmt: skip
    if (published := found["reference"]) is not None:
        say(published_text(published))
    for row in found["failed"][:5]:
        say(f"failed: {row['path']}: {row['reason']}", err=True)


def published_text(row: dict[str, Any]) -> str:
    """The published accuracy of the same network and views, and how it was measured."""
    how = f"protocol {row['protocol']}, {row['average_clips']} averaged"
    text = (f"published            {row['top1']:.1%} top-1 on {row['data']} ({row['model']}, {row['views']} "
            f"views, {how}, by {row['source']})")  # fmt: skip
    return text if row["comparable"] else f"{text}: measured otherwise than here, not to be compared"
