"""Frames to a film that players show: H.264 in MP4."""

from __future__ import annotations

import os
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from expander.errors import EnvironmentFault
from expander.video.probe import FAULTS, reason_of
from expander.video.readers import Frames


def write_film(path: Path, parts: Iterable[Frames], fps: Fraction) -> None:
    """Writes parts (n, H, W, 3) of a film, one after another; whole or not at all. Raises EnvironmentFault.

    An odd row or column at the end is left out: the format has none.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with av.open(os.fspath(temporary), "w", format="mp4") as container:
            stream: Any = None
            for part in parts:
                height, width = (size - size % 2 for size in part.shape[1:3])
                if stream is None:
                    stream = container.add_stream("libx264", rate=fps)
                    stream.height, stream.width, stream.pix_fmt = height, width, "yuv420p"
                    stream.options = {"preset": "veryfast", "crf": "20"}
                for picture in part[:, :height, :width]:
                    frame = av.VideoFrame.from_ndarray(picture.copy(), format="rgb24")
                    container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        os.replace(temporary, path)
    except FAULTS as error:
        raise EnvironmentFault(f"{path}: cannot be written: {reason_of(error)}") from None
    finally:
        temporary.unlink(missing_ok=True)
