"""What people do in the embedded videos: movements as key poses, and the classes made of them.

A class is a movement and the way it is played: forwards, backwards, or held at one of its moments. So
some classes are told by pose, and some by time only: a frame of a person who sits down is a frame of
one who stands up. Left and right are exchanged at random, so that a flip never changes a label.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from expander.data.embedded.skeleton import ANGLES, Array, Pose, mirrored, pose


@dataclass(frozen=True, slots=True)
class Movement:
    """Key poses at equal distances in time.

    seconds: the shortest and longest duration, of one cycle if cyclic (played again and again), else of
    the only time it is played; facing: least and greatest degrees between the person and the camera;
    turns: about the upright in a cycle; speed: forward, in heights of the person a second; standing: its
    feet stay where they are, instead of its hips; prop: what it is done with.
    """

    keys: tuple[Pose, ...]
    seconds: tuple[float, float]
    facing: tuple[float, float] = (0, 50)
    cyclic: bool = True
    turns: int = 0
    speed: float = 0.0
    standing: bool = True
    prop: Literal["", "chair", "box"] = ""


@dataclass(frozen=True, slots=True)
class Action:
    """A class: a movement, and its pace: 1 forwards, -1 backwards, 0 held at a moment drawn at random."""

    name: str
    movement: Movement
    pace: Literal[1, -1, 0] = 1


SIDE = (60.0, 85.0)
UPRIGHT = pose(spread=6, elbow=8)

_STEP = (
    pose(hip_r=26, knee_r=6, hip_l=-20, knee_l=8, swing_r=-26, swing_l=26, spread=6, elbow=18, bend=3),
    pose(hip_r=6, knee_r=6, hip_l=16, knee_l=52, spread=6, elbow=18, bend=3),
)
WALK = Movement((*_STEP, *map(mirrored, _STEP)), (1.0, 1.35), SIDE, speed=0.7, standing=False)

_STRIDE = (
    pose(hip_r=62, knee_r=75, hip_l=-28, knee_l=35, swing_r=-55, swing_l=45, spread=8, elbow=95, bend=14,
         lift=5),
    pose(hip_r=24, knee_r=28, hip_l=5, knee_l=105, spread=8, elbow=95, bend=14),
)
RUN = Movement((*_STRIDE, *map(mirrored, _STRIDE)), (0.55, 0.75), SIDE, speed=1.6, standing=False)

JUMP = Movement(
    (
        pose(hip=58, knee=88, bend=32, swing=-45, spread=8),
        pose(swing=90, spread=10, lift=12),
        pose(swing=155, spread=12, knee=15, lift=26),
        pose(swing=110, spread=12, lift=12),
    ),
    (0.9, 1.3), (0, 50),
)  # fmt: skip

JUMPING_JACKS = Movement(
    (
        pose(spread=8),
        pose(spread=85, splay=14, lift=8),
        pose(spread=160, splay=26),
        pose(spread=85, splay=14, lift=8),
    ),
    (0.85, 1.15), (0, 35),
)  # fmt: skip

WAVE = Movement(
    (
        pose(spread_r=112, roll_r=90, elbow_r=15, spread_l=6, elbow_l=8),
        pose(spread_r=112, roll_r=90, elbow_r=95, spread_l=6, elbow_l=8),
    ),
    (0.55, 0.85), (0, 40),
)  # fmt: skip

CLAP = Movement(
    (pose(swing=50, elbow=70, roll=-48), pose(swing=50, spread=35, elbow=60, roll=20)), (0.45, 0.7), (0, 50)
)

SIT_DOWN = Movement(
    (
        UPRIGHT,
        pose(hip=48, knee=52, bend=38, swing=28, spread=6, elbow=20),
        pose(hip=88, knee=88, bend=6, swing=28, elbow=45, spread=4),
    ),
    (1.2, 1.9), (50, 85), cyclic=False, prop="chair",
)  # fmt: skip

LIE_DOWN = Movement(
    (
        UPRIGHT,
        pose(hip=95, knee=115, bend=38, swing=40, spread=10),
        pose(pitch=-38, hip=85, knee=75, bend=8, swing=-25, spread=12),
        pose(pitch=-88, hip=4, knee=4, spread=12),
    ),
    (1.5, 2.1), (55, 85), cyclic=False,
)  # fmt: skip

PICK_UP = Movement(
    (
        UPRIGHT,
        pose(hip=45, knee=62, bend=78, swing=88, elbow=8),
        pose(swing=35, elbow=62, bend=-4),
    ),
    (1.2, 1.9), (55, 85), cyclic=False, prop="box",
)  # fmt: skip

PUSH_UPS = Movement(
    (
        pose(pitch=74, swing=84, elbow=10, spread=14, nod=-25),
        pose(pitch=85, swing=-12, elbow=102, spread=14, nod=-25),
    ),
    (1.0, 1.5), (58, 85),
)  # fmt: skip

SQUATS = Movement(
    (pose(swing=25, spread=8, splay=8), pose(hip=98, knee=112, bend=40, swing=88, splay=12)),
    (1.2, 1.7), (40, 85),
)  # fmt: skip

_GUARD = pose(hip_r=-10, hip_l=14, knee=10, swing=32, elbow=112, roll=-12, turn=12)
_CHAMBER = pose(hip_r=72, knee_r=100, hip_l=4, knee_l=8, swing=32, elbow=105, bend=-6)
KICK = Movement(
    (
        _GUARD,
        _CHAMBER,
        pose(hip_r=98, knee_r=6, knee_l=6, swing_r=-20, swing_l=45, elbow=60, bend=-18),
        _CHAMBER,
    ),
    (0.95, 1.35), SIDE,
)  # fmt: skip

_PUNCH = pose(hip_r=-12, hip_l=16, knee=12, swing_r=86, elbow_r=4, swing_l=30, elbow_l=125, roll=-10,
              turn=-18, bend=6)  # fmt: skip
PUNCH = Movement((_PUNCH, _GUARD, mirrored(_PUNCH), _GUARD), (0.8, 1.2), (50, 85))

BOW = Movement((pose(spread=3), pose(bend=80, nod=10, spread=3, swing=12)), (1.6, 2.2), (50, 85))
SPIN = Movement((UPRIGHT,), (1.1, 1.7), (0, 180), turns=1)
TURN = replace(SPIN, seconds=(4.5, 6.5))

ACTIONS = (
    Action("walk", WALK), Action("walk-backwards", WALK, -1),
    Action("sit-down", SIT_DOWN), Action("stand-up", SIT_DOWN, -1),
    Action("lie-down", LIE_DOWN), Action("get-up", LIE_DOWN, -1),
    Action("pick-up", PICK_UP), Action("put-down", PICK_UP, -1),
    Action("wave", WAVE), Action("raise-hand", WAVE, 0),
    Action("push-ups", PUSH_UPS), Action("plank", PUSH_UPS, 0),
    Action("squats", SQUATS), Action("crouch", SQUATS, 0),
    Action("spin", SPIN), Action("turn-slowly", TURN), Action("stand", SPIN, 0),
    Action("run", RUN), Action("jump", JUMP), Action("jumping-jacks", JUMPING_JACKS),
    Action("clap", CLAP), Action("kick", KICK), Action("punch", PUNCH), Action("bow", BOW),
)  # fmt: skip
"""The embedded set: four pairs told by the order of frames, three by whether there is motion, three classes
by its speed, and seven by pose as well."""


def phases(action: Action, seconds: Array, rng: np.random.Generator) -> Array:
    """(T,) cycles played at each of these times; of what is played once, 0 before it and 1 after.

    What is played backwards is a film of it, shown from its end: its frames are spread in the same way.
    """
    movement, length = action.movement, rng.uniform(*action.movement.seconds)
    share = rng.random()
    if action.pace == 0:
        return np.full(len(seconds), 0.2 + 0.6 * share)
    if movement.cyclic:
        played = seconds / length + share
    else:
        start = (share - 0.5) * max(seconds[-1] - length, 0.0) - length / 2
        played = np.clip((seconds - seconds.mean() - start) / length, 0, 1)
    return played[:: action.pace]


def angles(movement: Movement, phase: Array) -> Array:
    """(T, A) the poses at these phases, on smooth curves through the keys (Catmull-Rom)."""
    keys = np.array(movement.keys)
    if movement.cyclic:
        place, last = phase % 1 * len(keys), len(keys)
        order = np.arange(-1, last + 2) % last
    else:
        place, last = phase * (len(keys) - 1), len(keys) - 1
        order = np.clip(np.arange(-1, last + 2), 0, last)
    first = np.minimum(place.astype(np.int64), last - 1)
    u = (place - first)[:, None]
    before, here, there, after = (keys[order[first + shift]] for shift in range(4))
    bend = 2 * before - 5 * here + 4 * there - after
    poses: Array = here + u / 2 * (there - before + u * (bend + u * (3 * (here - there) + after - before)))
    poses[:, ANGLES.index("turn")] += 360 * movement.turns * phase
    return poses
