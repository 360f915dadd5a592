"""weights import, weights export and predict: checkpoints in and out, and a network on a video."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from expander.cli.help import Command, Group
from expander.cli.options import SECONDS, Whole
from expander.cli.output.terminal import say
from expander.config.reading import parse_json, read_text
from expander.errors import DataError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from expander.specs.spec import Spec
    from expander.weights.key_map import Library

FILE = click.Path(path_type=Path, dir_okay=False)


@click.group(cls=Group)
def weights() -> None:
    """Checkpoints of other libraries in and out."""


@weights.command("import")
@click.argument("checkpoint", type=FILE)
@click.option("--spec", help="The spec, where the tensors do not tell it: X3D-XS, S and M share theirs.")
@click.option("--from", "origin", default="auto", show_default=True,
              type=click.Choice(["auto", "slowfast", "pytorchvideo", "mmaction2"]), help="Where it is from.")
@click.option("--key", help="Where in CHECKPOINT the network is, such as model_ema.  [default: found]")
@click.option("--labels", type=FILE, help="Class names, one a line, or a JSON object from name to number.")
@click.option("--multi-label", is_flag=True,
              help="Its videos had several labels each: sigmoid, not softmax.")
@click.option("--out", type=FILE, required=True, help="The .safetensors file to write.")  # fmt: skip
def import_(
    checkpoint: Path, spec: str | None, origin: str, key: str | None, labels: Path | None,
    multi_label: bool, out: Path,
) -> None:  # fmt: skip
    """Turn a CHECKPOINT of SlowFast, PyTorchVideo or MMAction2 into ours.

    Only tensors are read from it; nothing in it is run.
    """
    from expander.engine.references import find_spec
    from expander.model.network import X3D
    from expander.runs.targets import regular
    from expander.weights.checkpoint_file import open_network, sha256_of
    from expander.weights.convert import to_ours
    from expander.weights.detect import library_of
    from expander.weights.key_map import LIBRARIES
    from expander.weights.safetensors_file import save_weights

    target = regular(out, "--out")
    found = open_network(checkpoint, key)
    for note in found.notes:
        say(f"{checkpoint}: {note}", err=True)
    state = dict(found.state)
    library = library_of(state, str(checkpoint)) if origin == "auto" else LIBRARIES[origin]
    named = find_spec(spec) if spec else None
    chosen = _spec(state, library, checkpoint, named)
    ready = to_ours(state, chosen, library, str(checkpoint))  # checks before a network is made
    network = X3D(chosen)
    network.load_state_dict(ready)
    classes = chosen.base.classes
    names = read_labels(labels) if labels else tuple(map(str, range(classes)))
    if len(names) != classes:
        raise UsageError(f"{labels}: {len(names)} names for {classes} classes")
    source = {"library": library.name, "file": checkpoint.name, "sha256": sha256_of(checkpoint)}
    save_weights(target, network, chosen, names, {**source, "key": key} if key else source, multi_label)
    inner = "/".join(map(str, chosen.inner_widths))
    say(f"{library.name} weights of {chosen}, bottleneck {inner}, {classes} classes: {out}")


def _spec(state: dict[str, Tensor], library: Library, checkpoint: Path, named: Spec | None) -> Spec:
    """The spec that was named, with the classes that the tensors have, or the one that they show."""
    from expander.weights.detect import spec_of

    if named is not None:
        classes = state.get(library.module("head.fc2") + ".bias")
        return named if classes is None else named.with_classes(len(classes))
    found = spec_of(state, library, str(checkpoint))
    if len(found.alike) > 1:
        say(f"taken for {found.alike[0]}; {', '.join(found.alike[1:])} have the same tensors and "
                   "other clips: --spec decides", err=True)  # fmt: skip
    elif not found.alike:
        say("no published network has these sizes; clip taken as 16x5 at 224 pixels: --spec decides",
                   err=True)  # fmt: skip
    return found.spec


@weights.command()
@click.argument("source")
@click.option("--to", "form", required=True, help="The library or form to write.",
              type=click.Choice(["slowfast", "pytorchvideo", "mmaction2", "torch-export", "onnx"]))
@click.option("--out", type=FILE, required=True, help="The file to write.")  # fmt: skip
def export(source: str, form: str, out: Path) -> None:
    """Write SOURCE (a .safetensors file, RUN or RUN:step2) for others, and prove it equal.

    ONNX needs the extra expander[onnx].
    """
    from expander.engine.references import find_weights
    from expander.runs.targets import regular
    from expander.weights.export import export as write
    from expander.weights.safetensors_file import load_weights

    target = regular(out, "--out")
    loaded = load_weights(find_weights(source))
    worst = write(loaded.network, loaded.spec, form, target)
    say(f"{form}: {out}, logits within {worst:.1e} (relative) of ours at batch sizes 1 and 3")


@click.command(cls=Command)
@click.argument("video", type=click.Path(path_type=Path))
@click.option("--weights", "source", required=True, help="A .safetensors file, RUN or RUN:step2.")
@click.option("--spec", help="Clip and crop of another spec of the same network.  [default: the weights']")
@click.option("--labels", type=FILE, help="Class names, one a line, or a JSON object from name to number.")
@click.option("--views", type=Whole("views"), default=10, show_default=True, help="Clips averaged.")
@click.option("--topk", type=Whole("topk"), default=5, show_default=True)
@click.option("--decode-timeout", "timeout", type=SECONDS, default=60.0, show_default=True,
              help="Seconds that VIDEO may take to decode.")
@click.option("--json", "as_json", is_flag=True, help="Machine-readable.")
@click.option("--boxes", type=FILE, help="Of people, as CSV (second,x1,y1,x2,y2 in shares of the picture): "
              "what each of them does, by weights for detection.")
@click.option("--draw", type=FILE, help="With --boxes: VIDEO with boxes and actions, as an MP4.")
def predict(
    video: Path, source: str, spec: str | None, labels: Path | None, views: int, topk: int, timeout: float,
    as_json: bool, boxes: Path | None, draw: Path | None,
) -> None:  # fmt: skip
    """The most probable classes of VIDEO; with --boxes the actions of each person in it.

    With --boxes VIDEO may be a folder of numbered pictures, 30 of them a second.
    """
    from expander.config.reading import is_folder
    from expander.engine.references import find_spec, find_weights
    from expander.evaluation.classifier import classifier
    from expander.video.filenames import check_name

    check_name(video)
    if boxes is not None:
        from expander.cli.detection import ask

        named_spec = find_spec(spec) if spec else None
        ask(find_weights(source), video, boxes, draw, topk, named_spec, timeout, as_json)
        return
    if draw is not None:
        raise UsageError("--draw goes with --boxes")
    if is_folder(video):
        raise UsageError(f"VIDEO {video}: is a folder; one of pictures goes with --boxes")
    named = read_labels(labels) if labels else None
    network = classifier(find_weights(source), find_spec(spec) if spec else None, named)
    found = network.predict(video, topk, views, timeout)
    if as_json:
        say(json.dumps([asdict(row) for row in found], indent=1))
        return
    for row in found:
        say(f"{row.probability:7.2%}  {row.label}")


def read_labels(file: Path) -> tuple[str, ...]:
    """Class names in order. Raises DataError with the place."""
    try:
        text = read_text(file)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{file}: cannot be read: {reason}") from None
    if file.suffix != ".json":
        return tuple(line.strip() for line in text.splitlines() if line.strip())
    try:
        numbers = {name: int(number) for name, number in parse_json(text).items()}
    except (ValueError, TypeError, AttributeError, OverflowError):
        raise DataError(f"{file}: not a JSON object from class name to number") from None
    if sorted(numbers.values()) != list(range(len(numbers))):
        raise DataError(f"{file}: the numbers must run from 0 to {len(numbers) - 1}")
    return tuple(sorted(numbers, key=numbers.__getitem__))
