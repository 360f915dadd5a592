"""One film of several people side by side, each with an action of its own, and where each of them is.

Bodies, clothes, places and light are those of figures.py. Shapes: T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from expander.data.embedded.drawing import Limb, paint
from expander.data.embedded.figures import (
    FPS,
    NAMED,
    Camera,
    Video,
    acted,
    chair,
    dressed,
    placed,
    shadow,
    wander,
    wardrobe,
    windows,
)
from expander.data.embedded.skeleton import Array, joints

LOW = 0.36
"""Hips below it, in heights of the person, are those of one who sits, crouches or lies."""
UNDER_WAY = (0.1, 0.9)
"""Shares of what is played once between which a person is doing it; before and after it, it is not seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One of a film. boxes: (T, 4) x1, y1, x2, y2 around the body, without its shadow and chair, in shares of
    the picture. acting: (T,) whether the action is under way. low: (T,) whether the hips are.
    """

    action: str
    boxes: Array
    acting: NDArray[np.bool_]
    low: NDArray[np.bool_]


def render_scene(
    actions: Sequence[str], rng: np.random.Generator, frames: int, height: int, width: int
) -> tuple[Video, tuple[Person, ...]]:
    """A film uint8 (T, H, W, 3), RGB, FPS frames a second, and its people from the left, one an action."""
    seconds, tilt, count = np.arange(frames) / FPS, rng.uniform(0.02, 0.2), len(actions)
    shaken, grounds = wander(rng, seconds), rng.uniform(0.8, 0.93, size=count) * height
    sizes = rng.uniform(0.45, 0.54, size=count) * height
    video = windows(rng, np.rint(shaken), height, width, grounds.min())
    limbs, people = list[Limb](), list[Person]()
    for number, (name, ground) in enumerate(zip(actions, grounds, strict=True)):
        aside = width * (number + rng.uniform(0.42, 0.58)) / count
        hand, where = int(rng.choice((-1, 1))), shaken - np.array([aside, 0])
        camera = Camera(float(sizes[number]), float(ground), tilt, hand, where)
        body, around, person = _person(name, rng, seconds, camera)
        # Of two people the one who stands lower in the picture is nearer, with all that is on it.
        far = [replace(limb, depth=limb.depth + 10 * ground / height) for limb in (*around, *body)]
        limbs += far
        people.append(replace(person, boxes=_extent(body, height, width)))
    paint(video, limbs)
    return video.astype(np.uint8), tuple(people)


def _person(
    name: str, rng: np.random.Generator, seconds: Array, camera: Camera
) -> tuple[list[Limb], list[Limb], Person]:  # fmt: skip
    """A body in the middle of what the camera sees; shadow and chair; and who it is, the boxes to come."""
    action, frames = NAMED[name], len(seconds)
    phase, poses = acted(action, seconds, rng)
    body, turn = placed(action, joints(poses), rng)
    middle = np.mean([body[part][:-1, 0] for part in ("hips", "head", "ankle_l", "ankle_r")])
    aside = np.array([camera.hand * camera.size * middle, 0])
    camera = replace(camera, where=camera.where + aside)
    colours, other = wardrobe(rng), rng.uniform(20, 160, size=3)
    around = [shadow(camera, body)]
    if action.movement.prop == "chair":
        around += chair(camera, turn, 0.0, frames, other)
    elif action.movement.standing and rng.random() < 0.3:  # a chair does not tell who sits
        around += chair(camera, turn, rng.choice((-0.4, 0.4)), frames, other)
    once = not action.movement.cyclic
    begins, ends = UNDER_WAY
    acting = (phase > begins) & (phase < ends) if once else np.ones(frames, np.bool_)
    low = body["hips"][:-1, 1] < LOW
    return dressed(camera, body, colours), around, Person(name, np.zeros((frames, 4)), acting, low)


def _extent(body: Sequence[Limb], height: int, width: int) -> Array:
    """(T, 4) shares of the picture that hold all limbs, clipped to it."""
    ends = [(limb.start, limb.radii[0]) for limb in body] + [(limb.end, limb.radii[1]) for limb in body]
    low = np.min([end - radius for end, radius in ends], axis=0)
    high = np.max([end + radius for end, radius in ends], axis=0)
    # A pixel is painted at its middle, which has its whole number.
    boxes: Array = (np.concatenate([low, high], axis=1) + 0.5) / (width, height, width, height)
    return np.clip(boxes, 0, 1)
