"""Spec: a base network and six expansion factors; every size of a network is derived from them.

Source of the sizes: X3D (arXiv 2004.04730), with the base network inside the Spec, so that a factor
of 1 always means "as the base" and never depends on which library's base is meant.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from typing import Any, ClassVar

AXES = ("temporal", "frame_rate", "spatial", "width", "bottleneck", "depth")
"""The six expansion axes, in the fixed order that settles a tie when nothing else does."""

LEAST, MOST = 1e-6, 1e6
"""The smallest and the largest factor: sizes stay whole numbers that can be computed with."""

LIMITS = {
    "frames": (10_000, "minutes of film"),
    "stride": (100_000, "an hour of film"),
    "crop": (10_000, "pixels of the largest films"),
    "stem_width": (100_000, "channels beyond any memory"),
    "depths": (1000, "blocks, many times the deepest published network"),
    "head_width": (1_000_000, "channels beyond any memory"),
    "classes": (1_000_000, "more than any data set has"),
    "width_divisor": (100_000, "no network is as wide"),
    "crop_divisor": (10_000, "no crop is as large"),
}
"""The most that a size of the base may be, and why; of a spec's derived sizes, see `Spec.check_sizes`."""
DERIVED = {"frames": (1_000_000, "hours of film"), "crop": (100_000, "pixels that no film has")}
"""The most that a clip may be, once the factors are in."""
MOST_BLOCKS = 2000
MOST_STAGES = 16
"""Each stage halves the picture and doubles the channels."""
MOST_CHANNELS = 10_000_000

SE_RATIO = 1 / 16
TEST_SCALE = 8 / 7  # short side of the test frame over the crop: 160 -> 182, 224 -> 256, 312 -> 356
JITTER_SCALE = 10 / 7  # largest short side of training over the crop: 224 -> 320


def round_width(width: float, divisor: int = 8, least: int | None = None) -> int:
    """`width` channels to the nearest multiple of `divisor`, never more than 10 % below `width`.

    `least` is the smallest answer (default: `divisor`). The rule of PyTorchVideo and MMAction2; it
    is the one that gives the published X3D-XL.
    """
    rounded = max(least or divisor, int(width + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * width else rounded


def _nearest(value: float, multiple: int) -> int:
    """The multiple of `multiple` nearest to `value`, halves up, at least one."""
    return max(1, math.floor(value / multiple + 0.5 + 1e-9)) * multiple


def shown(value: object) -> str:
    """A value in an error line, cut where it is endless."""
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:20]}… ({len(text)} characters)"


@dataclass(frozen=True, slots=True)
class Base:
    """The network and the clip that the factors multiply; the defaults are X2D's.

    frames x stride and crop are the clip (frames, source frames, pixels); stem_width the channels
    of the stem and of the first stage, doubling from stage to stage; depths the blocks per stage.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    frames: int = 1
    stride: int = 24
    crop: int = 112
    stem_width: int = 24
    depths: tuple[int, ...] = (1, 2, 5, 3)
    head_width: int = 2048
    classes: int = 400
    width_divisor: int = 8
    crop_divisor: int = 8

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            values = value if isinstance(value, tuple) else (value,)
            if not values or any(type(item) is not int or item < 1 for item in values):
                raise ValueError(f"base.{name} must be a whole number of at least 1, not {value!r}")
            most, why = LIMITS[name]
            if max(values) > most:
                raise ValueError(f"base.{name} must be at most {most:,} ({why}), not {shown(max(values))}")
        if len(self.depths) > MOST_STAGES:
            raise ValueError(f"base.depths must be at most {MOST_STAGES} stages, each of which halves the "
                             f"picture, not {len(self.depths)}")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Spec:
    """Base network + six expansion factors. Immutable; all else is derived.

    Raises ValueError for a factor that is not a finite positive number.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}
    base: Base = field(default_factory=Base)
    temporal: float = 1.0
    frame_rate: float = 1.0
    spatial: float = 1.0
    width: float = 1.0
    bottleneck: float = 1.0
    depth: float = 1.0

    def __post_init__(self) -> None:
        for axis in AXES:
            value = getattr(self, axis)
            if type(value) not in (int, float) or not LEAST <= value <= MOST:
                allowed = f"a finite positive number from {LEAST:g} to {MOST:g}"
                raise ValueError(f"factor {axis} must be {allowed}, not {shown(value)}")
            object.__setattr__(self, axis, float(value))
        self.check_sizes()

    def check_sizes(self) -> None:
        """Raises ValueError for sizes that nothing can be computed with, before anything is made of them."""
        for name, size in (("frames", self.frames), ("crop", self.crop)):
            most, why = DERIVED[name]
            if size > most:
                raise ValueError(f"{name} of {size:,} a clip: at most {most:,} ({why})")
        if (blocks := sum(self.depths)) > MOST_BLOCKS:
            why = LIMITS["depths"][1]
            raise ValueError(f"depth of {blocks:,} blocks: at most {MOST_BLOCKS:,} in all ({why})")
        if (channels := max(*self.widths, *self.inner_widths)) > MOST_CHANNELS:
            raise ValueError(f"width of {channels:,} channels: at most {MOST_CHANNELS:,} (beyond any memory)")

    @property
    def frames(self) -> int:
        """Frames T of a clip."""
        return _nearest(self.base.frames * self.temporal * self.frame_rate, 1)

    @property
    def stride(self) -> int:
        """Source frames from one frame of the clip to the next."""
        return _nearest(self.base.stride / self.frame_rate, 1)

    @property
    def duration(self) -> int:
        """Source frames that a clip spans; of one frame, its stride."""
        return self.frames * self.stride

    @property
    def crop(self) -> int:
        """Height and width of a training clip, pixels."""
        return _nearest(self.base.crop * self.spatial, self.base.crop_divisor)

    @property
    def test_size(self) -> int:
        """Short side of the frame at test time, pixels."""
        return _nearest(self.crop * TEST_SCALE, 2)

    @property
    def jitter(self) -> tuple[int, int]:
        """Smallest and largest short side of a training frame, pixels."""
        return self.test_size, _nearest(self.crop * JITTER_SCALE, 2)

    @property
    def stem_width(self) -> int:
        """Channels of the stem."""
        return round_width(self.base.stem_width * self.width, self.base.width_divisor)

    @property
    def widths(self) -> tuple[int, ...]:
        """Output channels of each stage."""
        first, divisor = self.base.stem_width * self.width, self.base.width_divisor
        return tuple(round_width(first * 2**i, divisor) for i in range(len(self.base.depths)))

    @property
    def inner_widths(self) -> tuple[int, ...]:
        """Bottleneck channels of each stage, truncated as in the published networks."""
        return tuple(max(1, int(self.bottleneck * width + 1e-9)) for width in self.widths)

    @property
    def depths(self) -> tuple[int, ...]:
        """Blocks of each stage, rounded up."""
        return tuple(math.ceil(self.depth * depth - 1e-9) for depth in self.base.depths)

    @property
    def sizes(self) -> tuple[Any, ...]:
        """All that a network and its clips are made of: equal sizes are the same network."""
        clip = (self.frames, self.stride, self.crop)
        return (*clip, self.stem_width, self.widths, self.inner_widths, self.depths)

    @property
    def id(self) -> str:
        """Eight hex digits from the canonical JSON; stable across machines and processes."""
        return _id(self)

    def with_factor(self, axis: str, factor: float) -> Spec:
        """This spec with one factor set. Raises KeyError for an unknown axis."""
        if axis not in AXES:
            raise KeyError(axis)
        return replace(self, **{axis: factor})  # type: ignore[arg-type]

    def with_classes(self, classes: int) -> Spec:
        """This spec for another number of classes."""
        return replace(self, base=replace(self.base, classes=classes))

    def __str__(self) -> str:
        widths = "/".join(map(str, self.widths))
        depths = "/".join(map(str, self.depths))
        return f"{self.frames}x{self.stride} crop {self.crop} width {widths} depth {depths}"


@lru_cache(maxsize=4096)
def _id(spec: Spec) -> str:
    text = json.dumps(asdict(spec), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:8]
