"""One video of an action: a person drawn at random does it, in a place and before a camera drawn at random.

What the action does not fix is drawn from the same distribution for all actions: body, clothes, size, place,
light, camera shake and pan. The same generator state gives the same pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expander.data.embedded.actions import ACTIONS, Action, angles, phases
from expander.data.embedded.backdrops import backdrop
from expander.data.embedded.drawing import Limb, paint
from expander.data.embedded.skeleton import ANGLES, Array, Joints, about, joints

FPS = 20
Video = NDArray[np.uint8]
CLASSES = tuple(action.name for action in ACTIONS)
"""The embedded set."""

NAMED = {action.name: action for action in ACTIONS}
_SKINS = ((247, 214, 187), (228, 180, 143), (190, 134, 98), (141, 92, 62), (92, 60, 44))
_HAIRS = ((38, 30, 26), (88, 58, 38), (196, 160, 92), (150, 150, 150), (140, 66, 34))
_BODY = (
    ("neck", "head", 0.030, 0.030, "skin"), ("nape", "hair", 0.050, 0.066, "hair"),
    ("head", "head", 0.068, 0.068, "skin"),
    ("eye_l", "eye_l", 0.011, 0.011, "eyes"), ("eye_r", "eye_r", 0.011, 0.011, "eyes"),
    ("hips", "neck", 0.078, 0.082, "shirt"), ("shoulder_l", "shoulder_r", 0.046, 0.046, "shirt"),
    ("hip_l", "hip_r", 0.062, 0.062, "trousers"),
)  # fmt: skip
_SIDE = (
    ("hip", "knee", 0.060, 0.044, "trousers"), ("knee", "ankle", 0.042, 0.030, "shins"),
    ("ankle", "toe", 0.030, 0.026, "shoes"), ("shoulder", "elbow", 0.040, 0.033, "shirt"),
    ("elbow", "wrist", 0.032, 0.025, "sleeves"), ("wrist", "hand", 0.030, 0.034, "skin"),
)  # fmt: skip
LIMBS = (*_BODY, *((f"{a}_{s}", f"{b}_{s}", p, q, worn) for s in "lr" for a, b, p, q, worn in _SIDE))
"""What is drawn of a body: from joint to joint, the radius at both, what it wears there."""

_CHAIR = (
    *((((x, 0.19, -0.13), (x, 0.19, -0.36)), 0.028) for x in (-0.07, 0.0, 0.07)),
    *((((x, 0.0, z), (x, 0.19, z)), 0.013) for x in (-0.09, 0.09) for z in (-0.13, -0.37)),
    *((((x, 0.19, -0.38), (x, 0.56, -0.42)), 0.014) for x in (-0.09, 0.09)),
    (((-0.09, 0.50, -0.415), (0.09, 0.50, -0.415)), 0.03),
)
"""Ends and radius of its bars, as the person's joints: it stands behind the feet."""


@dataclass(frozen=True, slots=True)
class Camera:
    """Where things are seen. size: pixels of a person's height; ground: row of the ground at z = 0.

    tilt: radians downward; hand: 1, or -1 for a mirrored picture; where: (T, 2) its x and y in pixels.
    """

    size: float
    ground: float
    tilt: float
    hand: int
    where: Array

    def limb(self, start: Array, end: Array, radii: tuple[float, float], colour: Array) -> Limb:
        """A limb between places (T, 3), in heights of the person."""
        depth = (start + end)[:, 2] * math.cos(self.tilt) + (start + end)[:, 1] * math.sin(self.tilt)
        scaled = radii[0] * self.size, radii[1] * self.size
        return Limb(self._seen(start), self._seen(end), scaled, depth, colour)

    def _seen(self, place: Array) -> Array:
        x, y, z = place.T * self.size
        rows = self.ground - y * math.cos(self.tilt) + z * math.sin(self.tilt)
        return np.stack([self.hand * x, rows], axis=1) - self.where


def wardrobe(rng: np.random.Generator) -> Mapping[str, Array]:
    """Colours of a person and what the person wears."""
    skin, hair = np.array(rng.choice(_SKINS), float), np.array(rng.choice(_HAIRS), float)
    shirt, trousers, shoes = rng.uniform((10, 10, 10), (150, 150, 80), size=(3, 3)).T
    return {
        "skin": skin, "hair": hair, "eyes": np.full(3, 25.0),
        "shirt": shirt, "sleeves": shirt if rng.random() < 0.5 else skin,
        "trousers": trousers, "shins": trousers if rng.random() < 0.7 else skin, "shoes": shoes,
    }  # fmt: skip


def acted(action: Action, seconds: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """(T,) phases and (T + 1, A) poses of one performance: bent more or less, never quite still.

    The last pose is that of half of the movement.
    """
    phase = phases(action, seconds, rng)
    poses = angles(action.movement, np.append(phase, 0.5))
    free = np.array([name not in ("pitch", "turn", "lift") for name in ANGLES])
    poses[:, free] *= rng.uniform(0.9, 1.1, size=free.sum())
    poses[:, free] += rng.normal(0, 2.5, size=free.sum())
    beats, starts = rng.uniform(1.5, 4.0, size=free.sum()), rng.uniform(0, 2 * math.pi, size=free.sum())
    sway = np.sin(2 * math.pi * np.append(seconds, seconds.mean())[:, None] / beats + starts)
    poses[:, free] += sway * rng.normal(0, 1.5, size=free.sum())
    return phase, poses


def placed(action: Action, body: Joints, rng: np.random.Generator) -> tuple[Joints, Array]:
    """The body turned towards its way and standing on its feet; the matrix (3, 3) of the turn."""
    sign = rng.choice((-1, 1))
    turn = about(np.array([sign * rng.uniform(*action.movement.facing)]))[0]
    moved = {name: place @ turn.T for name, place in body.items()}
    if action.movement.standing:
        ankles = np.stack([moved["ankle_l"], moved["ankle_r"]])
        weight = np.exp(-ankles[:, :, 1:2] / 0.02)
        feet = (weight * ankles).sum(axis=0) / weight.sum(axis=0) * (1, 0, 1)
        moved = {name: place - feet for name, place in moved.items()}
    return moved, turn


def dressed(camera: Camera, body: Joints, colours: Mapping[str, Array]) -> list[Limb]:
    """A body (T + 1, 3) at all moments but the last."""
    return [camera.limb(body[a][:-1], body[b][:-1], (p, q), colours[worn]) for a, b, p, q, worn in LIMBS]


def chair(camera: Camera, turn: Array, aside: float, frames: int, colour: Array) -> list[Limb]:
    """A chair, as far aside and behind."""
    limbs = []
    for ends, radius in _CHAIR:
        places = np.array(ends) @ turn.T + (aside, 0, -abs(aside))
        start, end = (np.tile(place, (frames, 1)) for place in places)
        limbs.append(camera.limb(start, end, (radius, radius), colour))
    return limbs


def _box(camera: Camera, body: Joints, phase: Array, turn: Array, colour: Array) -> list[Limb]:
    """A box that the hands hold from half of the movement on; until then it lies where they take it."""
    hands = (body["hand_l"] + body["hand_r"]) / 2
    held = np.where(phase[:, None] >= 0.5, hands[:-1], hands[-1])
    across = turn @ np.array([0.07, 0, 0])
    layers = [held + turn @ np.array([0, y, 0.03]) for y in (-0.035, 0.035)]
    return [camera.limb(layer - across, layer + across, (0.06, 0.06), colour) for layer in layers]


def render(name: str, rng: np.random.Generator, frames: int, height: int, width: int) -> Video:
    """One video of the class: uint8 (T, H, W, 3), RGB, FPS frames a second."""
    action, seconds = NAMED[name], np.arange(frames) / FPS
    movement = action.movement
    phase, poses = acted(action, seconds, rng)
    body, turn = placed(action, joints(poses), rng)
    size, ground = rng.uniform(0.6, 0.74) * height, rng.uniform(0.82, 0.9) * height
    hand, follows, shaken = int(rng.choice((-1, 1))), rng.uniform(0.75, 1.0), wander(rng, seconds)
    # The camera follows who walks, not quite; it is set up so that the body's middle is near its own.
    way = np.zeros((frames, 2))
    way[:, 0] = action.pace * movement.speed * size * hand * turn[0, 2] * (seconds - seconds.mean())
    middle = hand * size * np.mean([body[part][:-1, 0] for part in ("hips", "head", "ankle_l", "ankle_r")])
    aside = width * rng.uniform(0.45, 0.55)
    at = shaken - (1 - follows) * way + np.array([middle - aside, 0])
    camera = Camera(size, ground, rng.uniform(0.02, 0.2), hand, at)
    video = windows(rng, np.rint(shaken + follows * way), height, width, ground)
    colours, other = wardrobe(rng), rng.uniform(20, 160, size=3)
    limbs = [shadow(camera, body)]
    if movement.prop == "chair":
        limbs += chair(camera, turn, 0.0, frames, other)
    elif movement.prop == "box":
        limbs += _box(camera, body, phase, turn, other)
    elif movement.standing and rng.random() < 0.2:
        limbs += chair(camera, turn, rng.choice((-0.6, 0.6)), frames, other)
    limbs += dressed(camera, body, colours)
    paint(video, limbs)
    return video.astype(np.uint8)


def wander(rng: np.random.Generator, seconds: Array) -> Array:
    """(T, 2) whole pixels: the shake of a hand-held camera and a slow pan."""
    beats, starts = rng.uniform(0.7, 2.2, size=(2, 2)), rng.uniform(0, 2 * math.pi, size=(2, 2))
    waves = np.sin(2 * math.pi * seconds[:, None, None] / beats + starts).sum(axis=1)
    pan = np.outer(seconds - seconds.mean(), (rng.normal(0, 3), 0))
    whole: Array = np.rint(rng.uniform(0, 1.6) * waves + pan)
    return whole


def windows(rng: np.random.Generator, where: Array, height: int, width: int, ground: float) -> Array:
    """(T, H, W, 3) what a camera at these x and y (T, 2) sees of a place."""
    corners = (where - where.min(axis=0)).astype(int)
    wide, tall = corners.max(axis=0) + (width, height)
    level = int(ground - where[:, 1].min() - rng.uniform(3, 18))
    picture = backdrop(rng, tall, wide, level)
    return np.stack([picture[y : y + height, x : x + width] for x, y in corners])


def shadow(camera: Camera, body: Joints) -> Limb:
    """On the ground, as long as the body is from above."""
    across = np.stack([body[part][:-1, 0] for part in ("hips", "neck", "ankle_l", "ankle_r")])
    ground = np.zeros((across.shape[1], 3))
    left, right = ground.copy(), ground.copy()
    left[:, 0], right[:, 0] = across.min(axis=0) - 0.05, across.max(axis=0) + 0.05
    limb = camera.limb(left, right, (0.028, 0.028), np.zeros(3))
    return replace(limb, depth=np.full(len(ground), -math.inf), opacity=0.4)
