"""How much of a proxy's accuracy is the seed? Recipes at equal clips, several seeds each.

    python analysis/proxy_noise.py --out noise.jsonl           # resumable; a line a training
    python analysis/proxy_noise.py --out noise.jsonl --show    # the table: deviation between seeds

Every recipe of RECIPES trains every spec of the list with every seed. One training is read in several
ways (the weights at the end, averaged weights, precise statistics of batch norm, more views), which
cost a validation each and no training.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from expander.config.settings import DataConfig, Recipe
from expander.config.space import SearchSpace, load_space
from expander.data.annotations import VideoData
from expander.data.clips import Batch, TrainingClips, ViewClips, loader, training_order
from expander.data.sources import decoder, open_data
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.training.averaging import WeightAverage, measure_statistics
from expander.training.distributed import Workers
from expander.training.loop import Step, train
from expander.training.schedule import optimizer
from expander.training.validation import score_videos
from expander.video.decoder import Decoder

ALONE = Workers(0, 1, torch.device("cpu"))
DECAYS = (0.99,)
STATISTICS = 20
"""Batches of precise batch norm."""
SEED_OF_STATISTICS = 1_000_003


def specs(space: SearchSpace, classes: int) -> dict[str, Spec]:
    """The base, two of its expansions and one of three steps."""
    base = space.start.with_classes(classes)
    far = replace(base, temporal=2.0, spatial=4 / 3, depth=2.0)
    return {"base": base, "temporal": replace(base, temporal=2.0), "spatial": replace(base, spatial=17 / 12),
            "far": far}  # fmt: skip


def smoothed(share: float) -> Step:
    """A step with label smoothing."""

    def step(network: nn.Module, sgd: torch.optim.SGD, clips: Tensor, labels: Tensor) -> Tensor:
        loss = cross_entropy(network(clips), labels, label_smoothing=share)
        sgd.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        sgd.step()
        return loss.detach()

    return step


def recipes(recipe: Recipe) -> dict[str, tuple[Recipe, Step | None]]:
    """By name, all with as many clips: the recipe, and a step of its own."""
    return {
        "as set": (recipe, None),
        "label smoothing 0.1": (recipe, smoothed(0.1)),
        "half the learning rate": (replace(recipe, lr=recipe.lr / 2), None),
        "batch doubled, learning rate too":
            (replace(recipe, batch=2 * recipe.batch, steps=recipe.steps // 2, lr=2 * recipe.lr), None),
        "batch halved":
            (replace(recipe, batch=recipe.batch // 2, steps=2 * recipe.steps, lr=recipe.lr / 1.5), None),
        "warm-up 0.3": (replace(recipe, warmup=0.3), None),
        "weight decay 5e-4": (replace(recipe, weight_decay=5e-4), None),
    }  # fmt: skip


class Averaged:
    """A step that keeps averages of the weights beside."""

    def __init__(self, network: X3D, step: Step) -> None:
        self.averages = {decay: WeightAverage(network, decay) for decay in DECAYS}
        self.step, self.done = step, 0

    def __call__(self, network: nn.Module, sgd: torch.optim.SGD, clips: Tensor, labels: Tensor) -> Tensor:
        loss = self.step(network, sgd, clips, labels)
        self.done += 1
        for average in self.averages.values():
            average.update(network, self.done)
        return loss


def one(
    spec: Spec, recipe: Recipe, step: Step, seed: int, data: VideoData, frames: Decoder
) -> dict[str, float]:
    """Accuracies of one training, by how it is read."""
    torch.manual_seed(seed)
    network = X3D(spec, recipe.dropout, recipe.he_head)
    order = training_order(len(data.train), recipe.steps * recipe.batch, seed)
    clips = TrainingClips(data.train, spec, recipe.flip, frames)
    kept = Averaged(network, step)
    train(network, optimizer(network, recipe), loader(clips, order, recipe.batch, 0), recipe, ALONE.device,
          lambda *_: None, step_of=kept)  # fmt: skip

    def again() -> Iterator[Batch]:
        items = training_order(len(data.train), STATISTICS * recipe.batch, seed + SEED_OF_STATISTICS)
        return iter(loader(clips, items, recipe.batch, 0))

    accuracy = partial(_accuracy, data=data, frames=frames, spec=spec)
    return dict(_read(network, kept, again, accuracy, recipe.views))


def _accuracy(
    network: nn.Module, views: int, data: VideoData, frames: Decoder, spec: Spec
) -> tuple[float, float]:
    tested = ViewClips(data.val, spec, views, frames)
    scores = score_videos(network, loader(tested, range(len(tested)), 64, 0), views, ALONE.device)
    return scores.video_top1, scores.loss


def _read(
    network: X3D, kept: Averaged, again: Callable[[], Iterator[Batch]],
    accuracy: Callable[[nn.Module, int], tuple[float, float]], views: int,
) -> Iterator[tuple[str, float]]:  # fmt: skip
    plain, loss = accuracy(network, views)
    yield "loss", loss
    yield "plain", plain
    for decay, average in kept.averages.items():
        average.take_statistics(network)
        yield f"ema {decay}", accuracy(average.network, views)[0]
        measure_statistics(average.network, again(), ALONE)
        yield f"ema {decay}, precise", accuracy(average.network, views)[0]
    measure_statistics(network, again(), ALONE)
    yield "precise", accuracy(network, views)[0]
    yield "precise, views doubled", accuracy(network, 2 * views)[0]


def table(lines: list[dict[str, object]]) -> pd.DataFrame:
    """Mean and deviation between seeds, in points, a row a recipe and reading; the mean over specs last."""
    rows = pd.DataFrame(lines)
    long = rows.explode("read")
    long["how"], long["accuracy"] = long.read.str[0], 100 * long.read.str[1].astype(float)
    each = long[long.how != "loss"].groupby(["recipe", "how", "spec"]).accuracy
    wide = each.agg(["mean", "std", "count"]).unstack("spec")
    wide[("all", "mean")] = wide["mean"].mean(axis=1)
    wide[("all", "std")] = (wide["std"] ** 2).mean(axis=1) ** 0.5
    return wide.round(1)


def main() -> None:
    """Trains what is not in the file yet, or shows the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--data", help="a folder of videos; none: the embedded ones")
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--recipes", nargs="*", help="some of them; all when left out")
    parser.add_argument("--specs", nargs="*", help="some of them; all when left out")
    parser.add_argument("--show", action="store_true")
    told = parser.parse_args()
    lines = [json.loads(line) for line in told.out.read_text().splitlines()] if told.out.exists() else []
    if told.show:
        with pd.option_context("display.width", 250, "display.max_rows", None, "display.max_columns", None):
            print(table(lines))
        return
    torch.set_num_threads(1)
    settings = DataConfig(folder=told.data)
    data, space = open_data(settings), load_space(told.space)
    frames, done = decoder(settings, data.fingerprint), {(x["recipe"], x["spec"], x["seed"]) for x in lines}
    for seed in range(told.seeds):
        for name, (recipe, step) in recipes(space.proxy).items():
            if told.recipes and name not in told.recipes:
                continue
            for title, spec in specs(space, len(data.classes)).items():
                if (name, title, seed) in done or (told.specs and title not in told.specs):
                    continue
                begun = time.monotonic()
                read = one(spec, recipe, step or smoothed(0.0), seed, data, frames)
                line = {"recipe": name, "spec": title, "seed": seed, "seconds": time.monotonic() - begun,
                        "read": list(read.items())}  # fmt: skip
                with told.out.open("a") as file:
                    file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
