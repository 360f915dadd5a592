"""Whether a reader may jump within a video: proved from its packets, or not trusted.

decord seeks to a key frame and takes the frame that it lands on for the one of that number. That is right
only where the container knows the time of every frame, where nothing shown before a key frame is stored
after it (an open group of pictures), where decoding can truly begin at every key frame (an IDR picture,
no mere recovery point), and where each packet is one frame. Otherwise it returns other frames than those
asked for, without an error. Of other codecs than those here nobody has shown it: MPEG-4 part 2, for one, has
packets that hold no frame, and files that call every frame a key frame.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from expander.video.jump_proof.bitstream import may_hold_fields
from expander.video.jump_proof.continuity import continuity
from expander.video.jump_proof.headers import LENGTH_AT, Units, changes, splits

INDEXED = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers whose packets carry the time at which each frame is shown."""
REFRESH_ALL = ("vp8", "libvpx", "vp9", "libvpx-vp9")
"""Codecs whose key frames always begin anew."""
EIGHT_BITS = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p")
"""Pictures that both readers turn into the same colours, to the last digit."""
STEADY = (0.6, 1.5)
"""A frame's time after the one before, as a part of the usual; outside of it, frames may be missing."""
SHORT = 10
"""Frames of a group, on average, up to which it is short."""
HEAD = 1024
"""Bytes of a packet in which the headers of frames are, but for those of key frames."""
NOT_TRUSTED = "jumps within it may land on other frames"


class Proof:
    """Takes packets in the order they are stored. doubt: why jumps cannot be trusted, "" if they can."""

    def __init__(self, container: Any, stream: Any) -> None:
        codec = stream.codec_context
        self.doubt = ""
        if container.format.name not in INDEXED:
            self.doubt = f"{container.format.name}: {NOT_TRUSTED}"
        if codec.pix_fmt not in EIGHT_BITS:
            self.doubt = self.doubt or f"{codec.pix_fmt}: decord may give other colours"
        told = codec.name, codec.extradata or b""
        self.split, self.changed, self.begins_anew = splits(*told), changes(*told), _begins_anew(*told)
        self.order = continuity(*told)
        self.plain = container.format.name == INDEXED[0] and codec.name == "h264"
        self.delays = bool(codec.has_b_frames)
        self.times: list[int] = []
        self.groups = 0
        self.keys: set[int | None] = set()  # when frames are decoded and shown at which decoding can begin
        if self.begins_anew is None:
            self.doubt = self.doubt or f"{codec.name}: {NOT_TRUSTED}"
        elif self.order is None:
            self.doubt = self.doubt or f"{codec.name}: several headers, or none that can be read"
        elif codec.name == "h264" and may_hold_fields(told[1]):
            self.doubt = self.doubt or "its pictures may be interlaced"
        self.reordered = False
        self.shown: int | None = None  # the latest time of all packets so far
        self.key = 0  # the time of the last key frame

    def take(self, packet: Any) -> None:
        """One packet that is not empty."""
        if self.doubt:
            return
        time, key = packet.pts, packet.is_keyframe
        if time is None:
            self.doubt = "frames without a time"
            return
        found = self.split(bytes(packet) if key else bytes(memoryview(packet)[:HEAD]))
        if packet.has_sidedata("new_extradata") or self.changed(found, key):
            self.doubt = "its headers, so perhaps the size of its pictures, change midway"
            return
        if self.order is not None and self.order.gap(found):
            self.doubt = f"pictures are missing: {NOT_TRUSTED}"
            return
        if key:
            if self.begins_anew is not None and not self.begins_anew(found):
                self.doubt = f"a key frame that does not begin anew: {NOT_TRUSTED}"
                return
            self.keys |= {packet.dts, time}
            self.groups += 1
        self.times.append(time)
        if self.shown is None:
            self.key = self.shown = time
        elif key:
            if time <= self.shown:
                self.doubt = f"a key frame that is not shown after all before it: {NOT_TRUSTED}"
            self.key = self.shown = time
        elif time <= self.key:
            self.doubt = f"an open group of pictures: {NOT_TRUSTED}"
        elif time < self.shown:
            self.reordered = True
        else:
            self.shown = time

    def close(self, stream: Any) -> None:
        """After the last packet.

        An AVI knows no times: copied into an MP4, its B-frames lie as they are stored, and seem to be shown
        so. And PyAV looks into frames of H.264 for whether they are key frames, where decord asks the index.
        """
        if self.doubt:
            return
        if not {entry.timestamp for entry in stream.index_entries if entry.is_keyframe} <= self.keys:
            self.doubt = f"an index that calls other frames key frames: {NOT_TRUSTED}"
        elif len(self.times) > 1 and self.reordered != self.delays:
            self.doubt = f"times that contradict the order of its frames: {NOT_TRUSTED}"
        elif self.order is not None and self.order.end():
            self.doubt = f"pictures are missing: {NOT_TRUSTED}"

    @property
    def steady(self) -> bool:
        """Whether the frames follow each other evenly, so that none of them can be missing."""
        times = sorted(self.times)
        steps = [later - earlier for earlier, later in pairwise(times)]
        usual = sorted(steps)[len(steps) // 2] if steps else 1
        return all(STEADY[0] * usual <= step <= STEADY[1] * usual for step in steps)

    @property
    def short(self) -> bool:
        """Whether key frames are near every frame of an H.264 MP4, stored in the order it is shown."""
        return self.plain and not self.delays and len(self.times) <= SHORT * self.groups

    def confirmed_by(self, shown: Sequence[int | None]) -> bool:
        """Whether the frames that came, by their times, are one for each packet and in order."""
        return list(shown) == sorted(self.times)


def _begins_anew(codec: str, extradata: bytes) -> Callable[[Units], bool] | None:
    """Tells whether decoding can begin at a key frame; None: nobody knows that of this codec."""
    if codec in REFRESH_ALL:
        return lambda _: True
    if codec == "h264" and extradata[:1] == b"\x01" and len(extradata) > LENGTH_AT[codec]:
        return lambda found: any(unit[0] & 31 == 5 for unit in found)
    if codec == "hevc" and extradata[:1] == b"\x01" and len(extradata) > LENGTH_AT[codec]:
        return lambda found: any(unit[0] >> 1 & 63 in (19, 20) for unit in found)
    return None
