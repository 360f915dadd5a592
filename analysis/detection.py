"""Do weights of classification help action detection? From them against from scratch, at equal steps.

    python analysis/detection.py                     # 3 seeds, about 8 minutes on 2 cores
    python analysis/detection.py --dilation 1 2      # from classification with each of these too

A network is trained to classify the embedded videos of one person, and then to say what each of several
people in the embedded scenes does; from scratch it does only the latter, with the same recipe, steps and
seeds, and without dilation. Everything goes through the command line. Frame mAP is the last validation's, so
that no epoch is chosen. Chance: the same boxes with random scores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from expander.config.settings import DataConfig
from expander.config.space import dump_spec
from expander.data.ava.boxes import to_test
from expander.data.ava.folder import open_detection
from expander.specs.spec import Base, Spec
from expander.training.detection.scores import Answers, measured
from expander.training.training_folder import TrainingFolder

BASE = Base(frames=8, stride=4, crop=40, stem_width=16, depths=(1, 2), head_width=96, classes=24)
CROP = 72
"""Of detection, where a person is a part of the picture."""
DRAWS = 20
"""Of random scores."""


def main() -> None:
    """Prints frame mAP of every arm for each seed, and of chance."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=8, help="of detection")
    parser.add_argument("--source-epochs", type=int, default=30, help="of classification")
    parser.add_argument("--dilation", type=int, nargs="+", default=[1], help="of the last stage; one or more")
    parser.add_argument("--out", type=Path, default=Path("detection"), help="folder for everything")
    arguments = parser.parse_args()
    place, begun = arguments.out, time.monotonic()
    place.mkdir(parents=True, exist_ok=True)
    (place / "source.yaml").write_text(dump_spec(Spec(BASE), "one person fills the picture"))
    (place / "people.yaml").write_text(dump_spec(Spec(replace(BASE, crop=CROP)), "several people"))
    trained(place, "source", ["source.yaml", "--epochs", str(arguments.source_epochs)])
    rows = []
    arms = [("from classification" if dilation == 1 else f"from classification dilation {dilation}",
             ["--init", "source", f"--set=train.dilation={dilation}"])
            for dilation in arguments.dilation]  # fmt: skip
    for seed in range(arguments.seeds):
        for arm, own in (*arms, ("from scratch", [])):
            options = ["people.yaml", "--task", "detection", *own, "--epochs", str(arguments.epochs),
                       "--batch", "32", "--set=train.lr=0.6", "--seed", str(seed),
                       f"--set=train.validate_every={arguments.epochs}"]  # fmt: skip
            rows.append((arm, seed, trained(place, f"{arm.replace(' ', '-')}-{seed}", options)))
    table = pd.DataFrame(rows, columns=["training", "seed", "mAP"]).pivot(index="training", columns="seed")
    print(f"\nframe mAP, %, {arguments.epochs} epochs; {time.monotonic() - begun:.0f} s in all")
    print((table["mAP"] * 100).assign(mean=lambda seeds: seeds.mean(axis=1)).round(1).to_string())
    print(f"chance {100 * chance():.1f}")


def trained(place: Path, name: str, options: list[str]) -> float:
    """mAP or video_top1 of the last validation of a training, or of one of an earlier call."""
    folder = TrainingFolder(place / "runs" / name)
    if not folder.exists():
        call(place, ["train", *options, "--recipe", "tiny", "--run", name])
    return next(row[measure] for row in reversed(folder.rows()) for measure in ("mAP", "video_top1")
                if measure in row)  # fmt: skip


def chance() -> float:
    """Mean frame mAP of DRAWS networks that score every box at random."""
    config = DataConfig()
    data = open_detection(config)
    frames = to_test(data, config.test_score)
    found = []
    for seed in range(DRAWS):
        rng = np.random.default_rng(seed)
        scores = {number: rng.random((len(frame), len(data.classes))) for number, frame in enumerate(frames)}
        found.append(measured(frames, Answers(scores, ()), data, config).goodness)
    return float(np.mean(found))


def call(place: Path, arguments: list[str]) -> None:
    """The command line in the folder of this study."""
    command = [sys.executable, "-m", "expander.cli", *arguments]
    subprocess.run(command, check=True, cwd=place, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
