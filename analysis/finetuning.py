"""Do weights of other videos help? Finetuning against training from scratch, at equal steps.

    python analysis/finetuning.py                     # 3 seeds, about 4 minutes on one core

One variant of the embedded data has 12 of the classes, another the other 12 with few training videos.
A network is trained on the first, exported as a SlowFast checkpoint, imported from it, and finetuned on
the second; from scratch it is trained on the second with the same recipe, steps and seeds. Everything
goes through the command line. The accuracy is the last validation's, so that no epoch is chosen.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd

from expander.config.space import dump_spec, load_space
from expander.data.embedded.figures import CLASSES
from expander.data.embedded.synthetic import SetConfig, ensure
from expander.runs.machine import cache_folder
from expander.training.training_folder import TrainingFolder

FIRST = SetConfig(classes=CLASSES[::2], train=50, val=10)
SECOND = SetConfig(classes=CLASSES[1::2], train=15, val=25)


def main() -> None:
    """Prints the accuracy of both arms after each number of epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, nargs="+", default=[20], help="on the second variant")
    parser.add_argument("--source-epochs", type=int, default=40, help="on the first variant")
    parser.add_argument("--out", type=Path, default=Path("finetuning"), help="folder for everything")
    arguments = parser.parse_args()
    place = arguments.out
    place.mkdir(parents=True, exist_ok=True)
    first, second = (ensure(cache_folder(), config) for config in (FIRST, SECOND))
    weights = source(place, first, arguments.source_epochs)
    rows = []
    for epochs in arguments.epochs:
        for seed in range(arguments.seeds):
            for arm, init in (("finetuned", ["--init", str(weights.resolve())]), ("from scratch", [])):
                name = f"{arm.replace(' ', '-')}-{epochs}-{seed}"
                options = [*init, "--epochs", str(epochs), "--seed", str(seed)]
                rows.append((epochs, arm, seed, trained(place, name, second, options)))
    table = pd.DataFrame(rows, columns=["epochs", "training", "seed", "video_top1"])
    grouped = table.groupby(["epochs", "training"])["video_top1"].agg(["mean", "std", "min", "max"]) * 100
    print(f"\n12 other classes, {SECOND.train} training videos each, 300 to validate, %")
    print(grouped.round(1).to_string())


def source(place: Path, data: Path, epochs: int) -> Path:
    """Weights trained on the first variant, out as a SlowFast checkpoint and in again."""
    space = load_space("tiny")
    spec = replace(space.start, frame_rate=2.0, spatial=34 / 24).with_classes(len(FIRST.classes))
    (place / "spec.yaml").write_text(dump_spec(spec, "two frames of 34 pixels"))
    trained(place, "source", data, ["--epochs", str(epochs)])
    out, back = place / "slowfast.pyth", place / "imported.safetensors"
    call(place, ["weights", "export", "source", "--to", "slowfast", "--out", out.name])
    # With the class names, so that the other classes are known to be others.
    labels = ["--labels", str(data / "classes.txt")]
    call(place, ["weights", "import", out.name, "--spec", "spec.yaml", *labels, "--out", back.name])
    return back


def trained(place: Path, name: str, data: Path, options: list[str]) -> float:
    """video_top1 of the last validation of a training, or of one of an earlier call."""
    folder = TrainingFolder(place / "runs" / name)
    if not folder.exists():
        fixed = ["--recipe", "tiny", "--data", str(data), "--run", name, "--set=backend.cpus_per_trial=1"]
        call(place, ["train", "spec.yaml", *fixed, *options])
    accuracy: float = next(row["video_top1"] for row in reversed(folder.rows()) if "video_top1" in row)
    return accuracy


def call(place: Path, arguments: list[str]) -> None:
    """The command line in the folder of this study."""
    command = [sys.executable, "-m", "expander.cli", *arguments]
    subprocess.run(command, check=True, cwd=place, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
