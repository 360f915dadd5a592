"""Does every axis pay on the embedded data set, and does motion matter?

    python analysis/embedded_axes.py                 # 3 seeds, about 20 minutes on 2 cores

Trains the base of the tiny space and each of its single-axis expansions with several seeds, then a
spec of several frames as it is and with its frames shuffled in time, in training and validation.
The trainings are longer than those of a search (--steps), so that what is compared is what the
networks can do and not how fast they begin.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import torch

from expander.backends.ray_tune import RayBackend
from expander.config.settings import BackendConfig, DataConfig
from expander.config.space import SearchSpace, load_space
from expander.data.annotations import VideoData
from expander.data.clips import TrainingClips, ViewClips, loader, training_order
from expander.data.sources import decoder, open_data, source_limits
from expander.model.network import X3D
from expander.runs.events import Candidate
from expander.runs.orders import TrialOrder
from expander.runs.trials import TrialFailure, TrialResult, make_trial
from expander.search.expansion import expand
from expander.specs.cost import cost
from expander.specs.spec import Spec
from expander.training.loop import train
from expander.training.schedule import optimizer
from expander.training.validation import score_videos


def main() -> None:
    """Prints both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--space", default="tiny")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=2500)
    arguments = parser.parse_args()
    seeds = range(arguments.seeds)
    data = open_data(DataConfig())
    space = load_space(arguments.space)
    start = space.start.with_classes(len(data.classes))
    space = replace(space, base=start.base, proxy=replace(space.proxy, steps=arguments.steps))
    candidates, _ = expand(space, start, cost, source_limits(data, DataConfig()))
    arms = (Candidate("base", start, cost(start), 1.0), *candidates)
    print(axes_table(arms, accuracies(arms, space, data, seeds)).to_string(index=False))
    moving = replace(start, temporal=2.0, frame_rate=2.0, spatial=17 / 12)
    print(f"\nmotion: {moving}")
    print(control_table(moving, space, data, seeds).to_string(index=False))


def accuracies(
    arms: Sequence[Candidate], space: SearchSpace, data: VideoData, seeds: range
) -> dict[str, list[float]]:
    """Validation accuracy by axis, one per seed, trained as a search would."""
    found: dict[str, list[float]] = {arm.axis: [] for arm in arms}

    def report(outcome: TrialResult | TrialFailure) -> None:
        assert isinstance(outcome, TrialResult), outcome
        found[outcome.trial.split("-")[1]].append(outcome.accuracy)

    trials = [make_trial(1, arm.axis, arm.spec, seed) for seed in seeds for arm in arms]
    with tempfile.TemporaryDirectory() as folder, RayBackend(BackendConfig()) as backend:
        backend.run(
            [
                TrialOrder(trial, space.proxy, DataConfig(), data.classes, data.fingerprint, folder, 1)
                for trial in trials
            ],
            report,
        )
    return found


def axes_table(arms: Sequence[Candidate], found: dict[str, list[float]]) -> pd.DataFrame:
    """Mean, deviation over seeds, and the gain over the base in deviations of a difference."""
    base = np.array(found["base"]) * 100
    rows = []
    for arm in arms:
        points = np.array(found[arm.axis]) * 100
        noise = float(np.hypot(points.std(ddof=1), base.std(ddof=1)))
        gain = float(points.mean() - base.mean())
        rows.append(
            {
                "axis": arm.axis,
                "spec": str(arm.spec),
                "cost, M": round(arm.cost.macs / 1e6, 3),
                "accuracy, %": round(float(points.mean()), 1),
                "deviation": round(float(points.std(ddof=1)), 1),
                "gain": round(gain, 1),
                "gain / deviation of the difference": round(gain / noise, 1) if noise else 0.0,
                "pays": arm.axis != "base" and gain > 2 * noise,
            }
        )
    return pd.DataFrame(rows)


class ShuffledTraining(TrainingClips):
    """Training clips whose frames come in a random order."""

    def __getitem__(self, item: tuple[int, int, int]) -> tuple[torch.Tensor, int, list[str]]:
        clip_THWC, label, bad = super().__getitem__(item)
        return clip_THWC[np.random.default_rng(item).permutation(len(clip_THWC))], label, bad


class ShuffledViews(ViewClips):
    """Validation views whose frames come in a random order."""

    def __getitem__(self, item: int) -> tuple[torch.Tensor, int, list[str]]:
        clip_THWC, label, bad = super().__getitem__(item)
        return clip_THWC[np.random.default_rng(item).permutation(len(clip_THWC))], label, bad


def control_table(spec: Spec, space: SearchSpace, data: VideoData, seeds: range) -> pd.DataFrame:
    """The same spec, recipe and seeds on ordered and on shuffled clips."""
    rows = []
    for name, shuffled in (("in order", False), ("shuffled", True)):
        points = np.array([one_training(spec, space, data, seed, shuffled) for seed in seeds]) * 100
        row = {"frames": name, "accuracy, %": round(float(points.mean()), 1)}
        rows.append({**row, "deviation": round(float(points.std(ddof=1)), 1)})
    return pd.DataFrame(rows)


def one_training(spec: Spec, space: SearchSpace, data: VideoData, seed: int, shuffled: bool) -> float:
    """video_top1 of one proxy training."""
    recipe, frames = space.proxy, decoder(DataConfig(), data.fingerprint)
    training = ShuffledTraining if shuffled else TrainingClips
    views = ShuffledViews if shuffled else ViewClips
    torch.manual_seed(seed)
    network, device = X3D(spec, recipe.dropout, recipe.he_head), torch.device("cpu")
    order = training_order(len(data.train), recipe.steps * recipe.batch, seed)
    clips = training(data.train, spec, recipe.flip, frames)
    batches = loader(clips, order, recipe.batch, 0)
    train(network, optimizer(network, recipe), batches, recipe, device, lambda *_: None)
    tested = views(data.val, spec, recipe.views, frames)
    batches = loader(tested, range(len(tested)), recipe.batch, 0)
    return score_videos(network, batches, recipe.views, device).video_top1


if __name__ == "__main__":
    main()
