"""Places in which the people of the embedded videos act: a room, a park, a street, a stage."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]
Rng = np.random.Generator


def _mixed(rng: Rng, low: float, high: float, tint: float = 18.0) -> Array:
    """A colour: a grey in low..high, tinted."""
    colour: Array = rng.uniform(low, high) + rng.uniform(-tint, tint, size=3)
    return colour


def _box(picture: Array, place: tuple[float, float, float, float], colour: Array) -> None:
    """Fills rows top..bottom and columns left..right, given in pixels."""
    top, bottom, left, right = (max(0, int(value)) for value in place)
    picture[top:bottom, left:right] = colour


def _room(picture: Array, horizon: int, rng: Rng) -> None:
    """A wall with stripes or without, pictures or windows on it, a floor of boards."""
    height, width, _ = picture.shape
    wall = _mixed(rng, 120, 205)
    stripes = np.cos(np.arange(width) * (2 * math.pi / rng.uniform(9, 30))) * rng.choice([0, 6, 12])
    picture[:horizon] = wall + stripes[:, None]
    for left in np.arange(rng.uniform(0, 40), width, rng.uniform(45, 80)):
        tall, wide = rng.uniform(0.25, 0.55) * horizon, rng.uniform(14, 34)
        top = rng.uniform(0.08, 0.3) * horizon
        _box(picture, (top - 2, top + tall + 2, left - 2, left + wide + 2), wall - 45)
        _box(picture, (top, top + tall, left, left + wide), _mixed(rng, 90, 225, 30))
    floor = _mixed(rng, 85, 150, 14) + np.array([14.0, 0.0, -14.0])
    picture[horizon:] = floor
    picture[horizon : horizon + 2] = wall - 60
    for row in np.geomspace(6, max(height - horizon, 7), 5).astype(int):
        picture[horizon + row - 1 : horizon + row] = floor - 16


def _park(picture: Array, horizon: int, rng: Rng) -> None:
    """Sky, hills, trees and grass."""
    height, width, _ = picture.shape
    sky = _mixed(rng, 170, 225, 10) + np.array([-22.0, 0.0, 22.0])
    picture[:horizon] = sky + np.linspace(-14, 14, horizon)[:, None, None]
    x = np.arange(width)
    hills = sum(np.sin(x / rng.uniform(14, 60) + rng.uniform(0, 6)) for _ in range(3)) * horizon * 0.06
    rows = np.arange(height)[:, None]
    below = rows >= horizon * rng.uniform(0.6, 0.9) + hills
    picture[below] = _mixed(rng, 105, 145, 10) + np.array([-10.0, 18.0, -18.0])
    grass = _mixed(rng, 95, 150, 8) + np.array([-16.0, 24.0, -28.0])
    for left in np.arange(rng.uniform(0, 50), width, rng.uniform(40, 90)):
        reach, top = rng.uniform(8, 18), horizon * rng.uniform(0.35, 0.7)
        _box(picture, (top, horizon + 2, left - 2, left + 2), np.array([96.0, 74.0, 56.0]))
        crown = (rows - top) ** 2 + ((x - left) * rng.uniform(0.8, 1.3)) ** 2 < reach**2
        picture[crown] = grass - rng.uniform(15, 40)
    picture[horizon:] = grass
    picture[horizon:] += np.linspace(-12, 10, height - horizon)[:, None, None]


def _street(picture: Array, horizon: int, rng: Rng) -> None:
    """Houses with windows, a pavement and a road."""
    height, width, _ = picture.shape
    picture[:] = _mixed(rng, 180, 225, 10) + np.array([-12.0, 0.0, 14.0])
    left = -rng.uniform(0, 30)
    while left < width:
        wide, top = rng.uniform(28, 60), rng.uniform(0, 0.35) * horizon
        wall = _mixed(rng, 95, 180, 22)
        _box(picture, (top, horizon, left, left + wide), wall)
        glass, floor, gap = wall + rng.choice([-40, 35]), rng.uniform(11, 17), rng.uniform(9, 14)
        for y in np.arange(top + 4, horizon - 7, floor):
            for x in np.arange(left + 4, left + wide - 7, gap):
                _box(picture, (y, y + 7, x, x + 5), glass)
        left += wide
    pavement = _mixed(rng, 120, 170, 8)
    picture[horizon:] = pavement
    kerb = horizon + int(rng.uniform(0.5, 1.0) * (height - horizon))
    picture[kerb:] = pavement - 55
    picture[kerb : kerb + 2] = pavement + 25


def _stage(picture: Array, horizon: int, rng: Rng) -> None:
    """A curtain in folds and an even floor."""
    height, width, _ = picture.shape
    curtain = _mixed(rng, 85, 170, 45)
    folds = np.cos(np.arange(width) * (2 * math.pi / rng.uniform(8, 24)) + rng.uniform(0, 6))
    picture[:horizon] = curtain + 14 * folds[:, None]
    picture[horizon:] = _mixed(rng, 100, 185, 15)
    picture[horizon:] += np.linspace(-16, 12, height - horizon)[:, None, None]


PLACES: tuple[Callable[[Array, int, Rng], None], ...] = (_room, _park, _street, _stage)


HAZE = 185.0
"""Grey towards which places fade."""


def backdrop(rng: Rng, height: int, width: int, horizon: int) -> Array:
    """(H, W, 3) of a place and a light drawn at random; the ground begins at row `horizon`."""
    picture = np.zeros((height, width, 3))
    PLACES[rng.integers(len(PLACES))](picture, horizon, rng)
    y, x = np.mgrid[:height, :width]
    angle = rng.uniform(0, 2 * math.pi)
    light = np.cos((math.cos(angle) * x + math.sin(angle) * y) / rng.uniform(30, 90) + rng.uniform(0, 6))
    # Pale, as in haze, so that people stand out.
    picture = HAZE + 0.4 * (picture - 140) + (rng.uniform(-22, 18) + 6 * light)[..., None]
    seen: Array = np.clip(picture, 0, 255).astype(np.float32)
    return seen
