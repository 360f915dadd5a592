"""A person as joint angles, and as joints in space: forward kinematics of all frames at once.

Lengths are shares of the person's height. Axes: x sideways, y up, z the way the person looks. Angles
are degrees; with all of them at 0 a person stands upright with hanging arms. T: frames.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Joints = dict[str, Array]
"""Places (T, 3) by the name of the joint."""

SIDES = {"l": 1.0, "r": -1.0}
WHOLE = ("pitch", "turn", "bend", "lean", "nod", "look", "lift")
PAIRED = ("swing", "spread", "roll", "elbow", "hip", "splay", "knee")
ANGLES = (*WHOLE, *(f"{angle}_{side}" for angle in PAIRED for side in SIDES))
"""What a pose fixes, in the order of its numbers.

pitch: of the whole body, forward; turn: about the upright; bend, lean: of the trunk, forward and sideways;
nod, look: of the head, down and sideways; lift: feet above the ground, in hundredths of a person. Of an arm:
swing forward, spread sideways, roll of the upper arm outward, bend of the elbow. Of a leg: bend of the hip
forward, splay sideways, bend of the knee.
"""

THIGH, SHIN, FOOT = 0.24, 0.23, 0.09
TRUNK, NECK, HEAD = 0.29, 0.05, 0.09
UPPER_ARM, FOREARM, HAND = 0.16, 0.14, 0.03
SHOULDERS, HIPS = 0.11, 0.055  # from the middle to one side
SOLE = 0.03  # a joint lies so far above the ground that the body touches

Pose = tuple[float, ...]


def pose(**degrees: float) -> Pose:
    """A pose of these angles, the others 0; `swing` is that of both arms, `swing_r` of one.

    Raises KeyError for an angle that a body does not have.
    """
    both = {f"{name}_{side}": degrees[name] for name in PAIRED if name in degrees for side in SIDES}
    one = {name: value for name, value in degrees.items() if name not in PAIRED}
    values = {**dict.fromkeys(ANGLES, 0.0), **both, **one}
    if len(values) > len(ANGLES):
        raise KeyError(f"no angle {', '.join(values.keys() - ANGLES)}")
    return tuple(map(float, values.values()))


def mirrored(one: Pose) -> Pose:
    """The pose with left and right exchanged."""
    values = dict(zip(ANGLES, one, strict=True))
    for name in ("turn", "lean", "look"):
        values[name] = -values[name]
    for name in PAIRED:
        left, right = f"{name}_l", f"{name}_r"
        values[left], values[right] = values[right], values[left]
    return tuple(values.values())


def _rotation(first: int, second: int) -> Callable[[Array], Array]:
    """Turns of the axis `first` towards the axis `second`: from degrees (T,) to matrices (T, 3, 3)."""

    def matrices(degrees: Array) -> Array:
        radians = np.deg2rad(degrees)
        turned = np.zeros((len(radians), 3, 3))
        turned[:] = np.eye(3)
        turned[:, first, first] = turned[:, second, second] = np.cos(radians)
        turned[:, second, first] = np.sin(radians)
        turned[:, first, second] = -turned[:, second, first]
        return turned

    return matrices


forward, sideways, about = _rotation(1, 2), _rotation(0, 1), _rotation(2, 0)


def _along(frame: Array, *direction: float) -> Array:
    """(T, 3): a direction of a frame of reference (T, 3, 3), seen from outside."""
    seen: Array = frame @ np.array(direction)
    return seen


def joints(angles: Array) -> Joints:
    """The joints of a body in each of the poses (T, A); the lowest is on the ground, if not lifted.

    The hips' middle is at x = z = 0.
    """
    at = dict(zip(ANGLES, angles.T, strict=True))
    body = about(at["turn"]) @ forward(at["pitch"])
    trunk = body @ forward(at["bend"]) @ sideways(at["lean"])
    hips = np.zeros((len(angles), 3))
    neck = hips + _along(trunk, 0, TRUNK, 0)
    skull = trunk @ about(at["look"]) @ forward(at["nod"])
    head = neck + _along(skull, 0, NECK + HEAD / 2, 0.01)
    found: Joints = {"hips": hips, "neck": neck, "head": head}
    found |= {"hair": head + _along(skull, 0, 0.022, -0.022),
              "nape": head + _along(skull, 0, -0.06, -0.045)}  # fmt: skip
    for side, sign in SIDES.items():
        found[f"eye_{side}"] = head + _along(skull, sign * 0.026, 0.005, 0.062)
        _leg(found, at, body, side, sign)
        _arm(found, at, trunk, side, sign)
    low = np.min([place[:, 1] for place in found.values()], axis=0) - SOLE
    rise = (np.maximum(at["lift"], 0) / 100 - low)[:, None] * np.array([0.0, 1.0, 0.0])
    return {name: place + rise for name, place in found.items()}


def _leg(found: Joints, at: Joints, body: Array, side: str, sign: float) -> None:
    """Adds hip, knee, ankle and toe of a side."""
    thigh = body @ sideways(sign * at[f"splay_{side}"]) @ forward(-at[f"hip_{side}"])
    shin = thigh @ forward(at[f"knee_{side}"])
    found[f"hip_{side}"] = found["hips"] + _along(body, sign * HIPS, 0, 0)
    found[f"knee_{side}"] = found[f"hip_{side}"] + _along(thigh, 0, -THIGH, 0)
    found[f"ankle_{side}"] = found[f"knee_{side}"] + _along(shin, 0, -SHIN, 0)
    found[f"toe_{side}"] = found[f"ankle_{side}"] + _along(shin, 0, -0.01, FOOT)


def _arm(found: Joints, at: Joints, trunk: Array, side: str, sign: float) -> None:
    """Adds shoulder, elbow, wrist and hand of a side."""
    upper = trunk @ sideways(sign * at[f"spread_{side}"]) @ forward(-at[f"swing_{side}"])
    upper = upper @ about(sign * at[f"roll_{side}"])
    lower = upper @ forward(-at[f"elbow_{side}"])
    found[f"shoulder_{side}"] = found["neck"] + _along(trunk, sign * SHOULDERS, -0.03, 0)
    found[f"elbow_{side}"] = found[f"shoulder_{side}"] + _along(upper, 0, -UPPER_ARM, 0)
    found[f"wrist_{side}"] = found[f"elbow_{side}"] + _along(lower, 0, -FOREARM, 0)
    found[f"hand_{side}"] = found[f"wrist_{side}"] + _along(lower, 0, -HAND, 0)
