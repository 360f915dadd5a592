"""The most that numbers which people set may be, each with the reason: more is a slip of the keyboard."""

from __future__ import annotations

from typing import NamedTuple

from expander.specs.spec import shown


class Most(NamedTuple):
    """The largest value, and why."""

    value: int
    why: str


TOGETHER = "all of them are in memory together"
MOST = {
    "steps": Most(10**12, "longer than anybody waits"),
    "epochs": Most(100_000, "longer than anybody waits"),
    "batch": Most(100_000, TOGETHER),
    "accumulate": Most(100_000, "a part of a batch is a clip at least"),
    "views": Most(1000, "each is a pass of the network over every video"),
    "dilation": Most(16, "taps farther apart than that are outside of the picture"),
    "precise_bn": Most(1_000_000, "longer than anybody waits"),
    "patience": Most(1_000_000, "longer than anybody waits"),
    "validate_every": Most(1_000_000, "no training has more epochs"),
    "validate_stride": Most(1_000_000, "no film has more seconds"),
    "checkpoint_minutes": Most(100_000, "ten weeks"),
    "checkpoint_seconds": Most(6_000_000, "ten weeks"),
    "seeds": Most(1000, "each is a training of every candidate"),
    "base_seeds": Most(1000, "each is a training of the base"),
    "max_seeds": Most(1000, "each is a training of a candidate"),
    "resamples": Most(1_000_000, TOGETHER),
    "shuffle_buffer": Most(1_000_000_000, "no data set has more videos"),
    "workers": Most(1024, "each is a process"),
    "cpus_per_trial": Most(100_000, "no machine has more"),
    "gpus_per_trial": Most(1024, "no machine has more"),
    "max_failures": Most(1000, "each is a training again"),
    "decode_timeout": Most(86_400, "a day"),
    "hours": Most(1_000_000, "a hundred years"),
    "gpu_hours": Most(1_000_000_000, "longer than anybody waits"),
    "trials": Most(1_000_000_000, "longer than anybody waits"),
    "max_steps": Most(10_000, "each multiplies the cost"),
    "seed": Most(2**53, "JSON keeps whole numbers up to there"),
    "topk": Most(1_000_000, "no data set has more classes"),
    "count": Most(10_000, "each is a training"),
}
"""By the name of the setting."""


def check_bounds(settings: object) -> None:
    """Raises ValueError for the first number of some settings that is beyond MOST."""
    for name, (most, why) in MOST.items():
        value = getattr(settings, name, None)
        if isinstance(value, int | float) and value > most:
            raise ValueError(f"{name} must be at most {most:,} ({why}), not {shown(value)}")
