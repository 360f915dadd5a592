"""Is the network that a search chose better once it is trained to the end? On videos nobody has seen.

    expander search --space tiny --target-gflops 0.0011 --run t
    python analysis/full_training.py t                # 3 seeds, about 10 minutes on one core

Trains RUN:final with `expander train` and, with the same seeds, as the search did (its proxy recipe).
Both are tested with 10 views a video. The validation videos chose the candidate and the best epoch, so
they are not the test: 600 new videos of the same classes, made with another seed, are. `best` are the
weights of the best validation, `last` those of the end, which no accuracy has chosen.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from expander.config.settings import DataConfig
from expander.data.clips import TrainingClips, ViewClips, loader, training_order
from expander.data.embedded.synthetic import SetConfig, ensure
from expander.data.sources import decoder, open_data
from expander.engine.loop import started
from expander.engine.references import RUNS, find_run, find_spec
from expander.model.network import X3D
from expander.runs.machine import cache_folder
from expander.specs.spec import Spec
from expander.training.loop import train
from expander.training.schedule import optimizer
from expander.training.validation import score_videos
from expander.weights.safetensors_file import load_weights

CPU = torch.device("cpu")
VIEWS = 10


def main() -> None:
    """Prints a row for each way of training: mean and deviation over the seeds."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("run", help="a finished run of the tiny space")
    parser.add_argument("--recipe", default="tiny")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    # Other videos of the same classes: of this set only the validation list is used.
    root = ensure(cache_folder(), SetConfig(train=1), seed=1)
    unseen = DataConfig(folder=str(root))
    rows = []
    for seed in range(arguments.seeds):
        rows.append(("proxy", seed, accuracy(proxy(arguments.run, seed), find_spec(arguments.run), unseen)))
        folder = full(arguments.run, arguments.recipe, seed)
        for weights in ("best", "last"):
            loaded = load_weights(folder / f"{weights}.safetensors")
            rows.append((f"full, {weights}", seed, accuracy(loaded.network, loaded.spec, unseen)))
        print(rows[-3:], flush=True)
    table = pd.DataFrame(rows, columns=["training", "seed", "video_top1"])
    grouped = table.groupby("training")["video_top1"].agg(["mean", "std", "min", "max"]) * 100
    print(f"\n{find_spec(arguments.run)}; {VIEWS} views of each of 600 unseen videos, %")
    print(grouped.round(1).to_string())


def proxy(run: str, seed: int) -> X3D:
    """RUN:final trained as a trial of the search is."""
    start = started(find_run(run))
    recipe, data = start.problem.space.proxy, open_data(start.data)
    spec = find_spec(run).with_classes(len(data.classes))
    torch.manual_seed(seed)
    network = X3D(spec, recipe.dropout, recipe.he_head)
    clips = TrainingClips(data.train, spec, recipe.flip, decoder(start.data, data.fingerprint))
    order = training_order(len(data.train), recipe.steps * recipe.batch, seed)
    batches = loader(clips, order, recipe.batch, 0)
    train(network, optimizer(network, recipe), batches, recipe, CPU, lambda *_: None)
    return network


def full(run: str, recipe: str, seed: int) -> Path:
    """The folder of RUN:final trained by the command line, or from an earlier call."""
    name = f"{Path(run).name}-full-seed{seed}"
    if not (RUNS / name).exists():
        options = ["--recipe", recipe, "--seed", str(seed), "--run", name, "--set=backend.cpus_per_trial=1"]
        command = [sys.executable, "-m", "expander.cli", "train", f"{run}:final", *options]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return RUNS / name


def accuracy(network: X3D, spec: Spec, config: DataConfig) -> float:
    """video_top1 of VIEWS uniform clips a video at the centre crop, probabilities averaged."""
    data = open_data(config)
    spec = replace(spec, base=replace(spec.base, classes=len(data.classes)))
    clips = ViewClips(data.val, spec, VIEWS, decoder(config, data.fingerprint))
    return score_videos(network, loader(clips, range(len(clips)), 64, 0), VIEWS, CPU).video_top1


if __name__ == "__main__":
    main()
