"""Frames asked for one by one are the frames of those numbers, in whatever container they lie."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import struct
import subprocess
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from absent import needs_decord
from conftest import Run
from films import copied, film, numbers, picture

from expander.video.decoder import Decoder, VideoError
from expander.video.jump_proof.random_access import NOT_TRUSTED
from expander.video.orientation import Orientation, orientation_of
from expander.video.probe import NO_DECORD, NotNow, Verdict, examine

FRAMES = 90
GOPS = {
    "defaults": {},
    "short": {"g": "12"},
    "short, B": {"g": "12", "bf": "2"},
    "intra": {"g": "1"},
}
X264 = {
    "open": {"x264-params": "open-gop=1:keyint=12:bframes=3"},
    "refresh": {"x264-params": "intra-refresh=1:keyint=12"},
}
X265 = {
    "defaults": {"x265-params": "log-level=none"},
    "leading": {"x265-params": "log-level=none:open-gop=0:keyint=12:radl=2"},
    "open": {"x265-params": "log-level=none:open-gop=1:keyint=12:bframes=3"},
    "closed": {"x265-params": "log-level=none:open-gop=0:keyint=12:bframes=3"},
}
VPX = {
    "short": {"g": "12", "deadline": "realtime", "cpu-used": "8"},
    "hidden": {"g": "30", "deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "16"},
}
COMBINATIONS = [
    *itertools.product(["mp4", "mov", "mkv", "avi", "ts", "flv"], ["libx264"], (GOPS | X264).items()),
    *itertools.product(["mp4", "mkv"], ["libx265"], X265.items()),
    *itertools.product(["mp4", "mkv", "avi"], ["mpeg4"], GOPS.items()),
    *itertools.product(["mpg", "avi", "ts"], ["mpeg2video"], GOPS.items()),
    *itertools.product(["webm", "mkv"], ["libvpx", "libvpx-vp9"], VPX.items()),
    *itertools.product(["ogv"], ["libvpx"], VPX.items()),
    *itertools.product(["avi", "mov"], ["mjpeg"], [("intra", {})]),
    *itertools.product(["wmv", "asf"], ["wmv2"], [("short", GOPS["short"])]),
    *itertools.product(["mkv", "mov"], ["mpeg2video"], [("short, B", GOPS["short, B"])]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("suffix", "codec", "gop"), COMBINATIONS, ids=lambda value: str(value)[:24])
def test_no_read_gives_another_frame(
    tmp_path: Path, suffix: str, codec: str, gop: tuple[str, dict[str, str]]
) -> None:
    path = film(tmp_path / f"film.{suffix}", FRAMES, codec=codec, options=gop[1])
    decoder, cached = Decoder(), Decoder(tmp_path / "cache", 1e9)
    rng, wrong = np.random.default_rng(1), 0
    video = decoder.open(path)
    assert video.length == FRAMES
    for turn in range(50):
        strided = rng.integers(0, FRAMES - 12) + 3 * np.arange(4)
        wanted = np.sort(rng.choice(FRAMES, 4)) if turn % 2 else strided
        for reader in (decoder, cached):
            wrong += numbers(reader.read(path, lambda _, picks=wanted: picks)) != wanted.tolist()
    told = video.verdict
    print(f"\n{suffix:5} {codec:11} {gop[0]:9} {told.route:6} {wrong} of 100 reads wrong; {told.reason}")
    assert wrong == 0
    decoder.close()
    cached.close()


TRUSTED = [
    ("a.mp4", "libx264", {"g": "12", "bf": "2"}, ""),
    ("b.mkv", "libx264", {"g": "12"}, ""),
    ("c.mp4", "libx265", {"x265-params": "log-level=none:open-gop=0:keyint=12"}, ""),
    ("d.webm", "libvpx-vp9", {"g": "12"}, ""),
    ("e.avi", "libx264", {"g": "12"}, f"avi: {NOT_TRUSTED}"),
    ("f.mpg", "mpeg2video", {}, f"mpeg: {NOT_TRUSTED}"),
    ("g.mp4", "mpeg4", {}, f"mpeg4: {NOT_TRUSTED}"),
    ("h.mp4", "libx264", X264["open"], f"a key frame that does not begin anew: {NOT_TRUSTED}"),
    ("i.mp4", "libx264", X264["refresh"], f"a key frame that does not begin anew: {NOT_TRUSTED}"),
    ("j.mp4", "libx265", X265["open"], f"a key frame that does not begin anew: {NOT_TRUSTED}"),
]


@pytest.mark.parametrize(("name", "codec", "options", "reason"), TRUSTED)
def test_jumps_are_trusted_only_where_they_are_proved(
    tmp_path: Path, name: str, codec: str, options: dict[str, str], reason: str
) -> None:
    verdict = examine(film(tmp_path / name, 40, codec=codec, options=options))
    assert (verdict.route, verdict.reason) == ("pyav" if reason else "decord", reason)


@needs_decord
def test_data_check_counts_the_routes(tmp_path: Path, expander: Run) -> None:
    for name, label in (("a.mp4", 0), ("b.mp4", 1), ("c.avi", 1)):
        film(tmp_path / name, 10, codec="libx264")
        with (tmp_path / "train.csv").open("a") as out:
            out.write(f"{name} {label}\n")
    for name, label in (("d.mp4", 0), ("e.mp4", 1)):
        film(tmp_path / name, 11 + label)
        with (tmp_path / "val.csv").open("a") as out:
            out.write(f"{name} {label}\n")
    done = expander("data", "check", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "4 read with decord; 1 read from the start with PyAV" in done.stdout
    assert "c.avi: read with PyAV: avi: jumps within it may land on other frames" in done.stdout


@pytest.mark.parametrize("suffix", ["webm", "mkv", "ogv"])
def test_a_film_without_a_duration_is_read(tmp_path: Path, suffix: str) -> None:
    """As browsers record: written to a pipe, the header has neither length nor index."""
    whole = film(tmp_path / "whole.webm", 40, codec="libvpx", options={"g": "12"})
    path = copied(whole, tmp_path / f"live.{suffix}", options={"live": "1"})
    picks = np.array([3, 8, 30, 39])
    told = examine(path)
    decoder = Decoder()
    assert numbers(decoder.read(path, lambda _: picks)) == picks.tolist()
    assert decoder.open(path).verdict == told
    assert told.route == "pyav"  # what data check counts


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="only ffmpeg's command writes Theora")
def test_theora_in_ogg_is_read(tmp_path: Path) -> None:
    path, pictures = tmp_path / "film.ogv", b"".join(picture(n, 64, 96).tobytes() for n in range(40))
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", "96x64", "-r", "25", "-i", "-"]
    subprocess.run(["ffmpeg", "-v", "error", *raw, "-c:v", "libtheora", "-q:v", "9", "-g", "12", path],
                   input=pictures, check=True)  # fmt: skip
    picks = np.array([3, 8, 30, 39])
    assert numbers(Decoder().read(path, lambda _: picks)) == picks.tolist()


def test_a_gif_is_read(tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("gif", rate=10)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "rgb8"
        for number in range(12):
            frame = av.VideoFrame.from_ndarray(picture(number, 64, 96), format="rgb24").reformat(
                format="rgb8"
            )
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert numbers(Decoder().read(path, lambda _: np.array([2, 7, 11]))) == [2, 7, 11]


def test_an_avi_whose_writer_dropped_frames_is_read_and_one_cut_short_is_not(tmp_path: Path) -> None:
    times = [n for n in range(40) if n % 4 != 1]  # every fourth place stays empty
    path = film(tmp_path / "dropped.avi", len(times), codec="mpeg4", times=times)
    with av.open(str(path)) as container:
        assert container.streams.video[0].frames > len(times)
    assert numbers(Decoder().read(path, np.arange)) == list(range(len(times)))
    cut = tmp_path / "cut.avi"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size * 8 // 10])
    with pytest.raises(VideoError, match=r"cut short|is damaged"):
        Decoder().read(cut, np.arange)


DEGREE = 1 << 16
MATRICES = {  # a, b, c, d of ISO/IEC 14496-12 and what it does to rows 0 1 over 2 3
    "as stored": ((1, 0, 0, 1), [[0, 1], [2, 3]]),
    "mirrored": ((-1, 0, 0, 1), [[1, 0], [3, 2]]),
    "upside down": ((1, 0, 0, -1), [[2, 3], [0, 1]]),
    "half a turn": ((-1, 0, 0, -1), [[3, 2], [1, 0]]),
    "a quarter clockwise": ((0, 1, -1, 0), [[2, 0], [3, 1]]),
    "a quarter the other way": ((0, -1, 1, 0), [[1, 3], [0, 2]]),
    "transposed": ((0, 1, 1, 0), [[0, 2], [1, 3]]),
    "transposed the other way": ((0, -1, -1, 0), [[3, 1], [2, 0]]),
}


@pytest.mark.parametrize("name", MATRICES)
def test_frames_are_shown_as_their_matrix_says(name: str) -> None:
    (a, b, c, d), expected = MATRICES[name]
    content = struct.pack("<9i", *(DEGREE * n for n in (a, b, 0, c, d, 0, 0, 0)), 1 << 30)

    found = orientation_of(SimpleNamespace(side_data={"DISPLAYMATRIX": content}))
    stored = np.arange(4, dtype=np.uint8).reshape(2, 2, 1)
    assert found.apply(stored)[..., 0].tolist() == expected
    assert (found == Orientation()) == (name == "as stored")


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EMFILE])
def test_a_disk_that_fails_once_is_no_fault_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = film(tmp_path / "x.mp4", 5)

    def fails(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(av, "open", fails)
        with pytest.raises(NotNow, match=os.strerror(number)):
            examine(path)
    assert examine(path).route == "decord"


@needs_decord
def test_a_decord_that_lacks_a_library_is_no_fault_of_the_file(tmp_path: Path) -> None:
    """PyAV reads the file; the next run, with the library there, knows it as one for decord."""
    path, verdicts = film(tmp_path / "x.mp4", 5), tmp_path / "verdicts.jsonl"
    (tmp_path / "broken" / "decord").mkdir(parents=True)
    (tmp_path / "broken" / "decord" / "__init__.py").write_text("raise ImportError('libX.so: not found')")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path / "broken"))
        frames = Decoder(verdicts=verdicts, noise=tmp_path / "log")
        assert numbers(frames.read(path, np.arange)) == [0, 1, 2, 3, 4]
        assert frames.examine(path) == Verdict("pyav", NO_DECORD)
        frames.close()
    assert "libX.so: not found" in (tmp_path / "log").read_text()
    assert Decoder(verdicts=verdicts).examine(path) == Verdict("decord")
