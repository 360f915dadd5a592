"""Real video files for tests, whose frames carry their number as a barcode."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from expander.video.decoder import Decoder

CONTAINERS = ("mp4", "mov", "mkv", "avi", "ts")
"""Those whose films must be the same to the last digit when their packets are copied."""

BITS = 10
CELL = 16  # pixels of a bit: survives any codec


def picture(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3): the bits of `number` as black and white cells at the top left; grey elsewhere."""
    drawn = np.full((height, width, 3), 128, np.uint8)
    for bit in range(BITS):
        row, column = divmod(bit, BITS // 2)
        top, left = row * CELL, column * CELL
        drawn[top : top + CELL, left : left + CELL] = 235 if number >> bit & 1 else 20
    return drawn


def numbers(frames: NDArray[np.uint8]) -> list[int]:
    """The number each frame (T, H, W, 3) carries."""
    found = []
    for frame in frames:
        bits = 0
        for bit in range(BITS):
            row, column = divmod(bit, BITS // 2)
            centre = frame[row * CELL + 4 : row * CELL + 12, column * CELL + 4 : column * CELL + 12]
            bits |= int(centre.mean() > 128) << bit
        found.append(bits)
    return found


def textured(number: int, height: int, width: int) -> NDArray[np.uint8]:
    """(H, W, 3): `number` in bits of 8 pixels a third in, and around it a pattern that no shift repeats."""
    drawn = np.random.default_rng(0).integers(40, 216, (height, width, 1), np.uint8).repeat(3, 2)
    for bit in range(BITS):
        top, left = 8 + bit // 4 * 8, width // 3 + bit % 4 * 8
        drawn[top : top + 8, left : left + 8] = 235 if number >> bit & 1 else 20
    return drawn


def film(
    path: Path,
    frames: int,
    fps: Fraction | int = 25,
    codec: str = "libx264",
    size: tuple[int, int] = (64, 96),
    options: dict[str, str] | None = None,
    rotation: int = 0,
    times: list[int] | None = None,
    draw: Callable[[int, int, int], NDArray[np.uint8]] = picture,
) -> Path:
    """Writes frames 0, 1, 2, …; times: of each frame in ticks of 1 / fps (default: one after another)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options or {}
        if rotation:
            stream.set_display_rotation(rotation)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(draw(number, *size), format="rgb24")
            frame.time_base = 1 / Fraction(fps)
            frame.pts = times[number] if times else number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def trimmed(source: Path, path: Path, first: int) -> Path:
    """A copy without decoding that begins at frame `first`, as trimming tools make: with an edit list."""
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        assert stream.time_base is not None
        assert stream.average_rate is not None
        offset = int(first / stream.average_rate / stream.time_base)
        given.seek(offset, stream=stream)
        for packet in given.demux(stream):
            if packet.dts is None or packet.pts is None:
                continue
            packet.pts -= offset
            packet.dts -= offset
            packet.stream = copy
            made.mux(packet)
    return path


Change = Callable[[int, Any], bool]
"""Changes a packet by its number; whether it stays."""


def copied(
    source: Path,
    path: Path,
    change: Change = lambda _, __: True,
    tick: int = 25,
    options: dict[str, str] | None = None,
) -> Path:
    """A copy of its packets, without decoding. tick: of an AVI, places a second; options: the container's."""
    with av.open(str(source)) as given, av.open(str(path), "w", options=options or {}) as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        if path.suffix == ".avi":
            copy.time_base = Fraction(1, tick)
        kind = "h264_mp4toannexb" if path.suffix in (".avi", ".h264") else "null"
        filtered = av.BitStreamFilterContext(kind, stream, copy)
        for number, packet in enumerate(given.demux(stream)):
            if packet.dts is not None and change(number, packet):
                for one in filtered.filter(packet):
                    one.stream = copy
                    made.mux(one)
    return path


def from_the_start(path: Path) -> list[int]:
    """The numbers that a player shows."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = "NONE"  # several threads may leave out others, where some are missing
        frames = list(container.decode(stream))
    size = {"width": frames[0].width, "height": frames[0].height}
    return numbers(np.stack([frame.to_ndarray(format="rgb24", **size) for frame in frames]))


def agrees(path: Path, shown: list[int]) -> bool:
    """Whether 50 random reads give the frames of a walk from the start."""
    decoder, rng = Decoder(), np.random.default_rng(0)
    length = decoder.open(path).length
    for _ in range(50):
        picks = np.sort(rng.choice(length, 4))
        if numbers(decoder.read(path, lambda _, picks=picks: picks)) != [shown[n] for n in picks]:
            return False
    decoder.close()
    return length == len(shown)
