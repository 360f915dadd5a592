"""Decoding real files through decord, with and without the cache of decoded frames."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from films import film, numbers

from expander.video.decoder import Decoder, VideoError
from expander.video.frame_cache import FrameCache
from expander.video.sampling import Indices


def first_video(videos: Path) -> Path:
    """Some video of the shared set."""
    return sorted((videos / "videos" / "train").rglob("*.mp4"))[0]


def picks(*indices: int) -> Indices:
    """Frame numbers as an array."""
    return np.array(indices, np.int64)


def test_frames_are_those_of_another_decoder(videos: Path) -> None:
    path = first_video(videos)
    with av.open(str(path)) as container:
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    wanted = picks(63, 0, 31, 31)
    found = Decoder().read(path, lambda _: wanted)
    difference = np.abs(found.astype(int) - np.stack([expected[i] for i in wanted]))
    # The same frames, converted from YUV by two libraries: rounding apart, nowhere another picture.
    assert difference.mean() < 2
    assert Decoder().probe(path) == (64, 96, 112)


def test_the_cache_changes_no_frame_and_spares_the_decoder(videos: Path, tmp_path: Path) -> None:
    path = first_video(videos)
    plain = Decoder().read(path, lambda n: picks(n - 1, 5, 5))
    cached = Decoder(tmp_path / "set", 1e9)
    assert cached.lacks(path)
    assert np.array_equal(cached.read(path, lambda n: picks(n - 1, 5, 5)), plain)
    assert not cached.lacks(path)
    moved = path.with_suffix(".moved")
    again = Decoder(tmp_path / "set", 1e9)
    again.read(path, lambda _: picks(0))
    path.rename(moved)  # only the cache can answer now
    try:
        assert np.array_equal(again.read(path, lambda n: picks(n - 1, 5, 5)), plain)
    finally:
        moved.rename(path)


def test_a_cache_file_cut_short_is_decoded_again(videos: Path, tmp_path: Path) -> None:
    path = first_video(videos)
    expected = Decoder(tmp_path / "set", 1e9).read(path, lambda n: picks(n - 1))
    (kept,) = (tmp_path / "set").glob("*.rgb")
    kept.write_bytes(kept.read_bytes()[:1000])
    assert np.array_equal(Decoder(tmp_path / "set", 1e9).read(path, lambda n: picks(n - 1)), expected)


def test_the_budget_is_kept_and_other_sets_make_room(videos: Path, tmp_path: Path) -> None:
    path, size = first_video(videos), 64 * 96 * 112 * 3
    small = Decoder(tmp_path / "small" / "set", size - 1)
    small.read(path, lambda _: picks(0))
    assert list((tmp_path / "small" / "set").iterdir()) == []
    other = tmp_path / "shared" / "other"
    other.mkdir(parents=True)
    (other / "old.rgb").write_bytes(bytes(size))
    tight = Decoder(tmp_path / "shared" / "set", 1.5 * size)
    assert tight.make_room(size)
    assert not other.exists()
    assert not tight.make_room(2 * size)


def test_frames_that_somebody_works_with_are_left_alone(
    videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, size = first_video(videos), 64 * 96 * 112 * 3
    working = Decoder(tmp_path / "other", 1.5 * size)
    expected = working.read(path, lambda _: picks(0, 5))
    wanting = pickle.loads(pickle.dumps(Decoder(tmp_path / "set", 1.5 * size)))
    assert not wanting.make_room(size)
    assert "frames that others work with, so these videos are decoded anew" in caplog.text
    assert not working.lacks(path)
    assert np.array_equal(wanting.read(path, lambda _: picks(0, 5)), expected)
    assert wanting.lacks(path)
    working.close()
    assert wanting.make_room(size)
    assert np.array_equal(working.read(path, lambda _: picks(0, 5)), expected)  # it decodes again


def test_frames_of_a_process_that_was_killed_are_nobodys(tmp_path: Path) -> None:
    code = ("import sys, pathlib\nfrom expander.video.frame_cache import FrameCache\n"
            "cache = FrameCache(pathlib.Path(sys.argv[1]), 100)\n"
            "cache.keep('a', (1, 1, 10), lambda file: file.write_bytes(bytes(30)))\n"
            "print('kept', flush=True)\nsys.stdin.read()")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "other")], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == "kept\n"
        assert not FrameCache(tmp_path / "set", 100).make_room(80)
        process.kill()
    assert FrameCache(tmp_path / "set", 100).make_room(80)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("content", [b"", b"no video at all\n", b"<!doctype html><html></html>"])
def test_what_is_no_video_is_told_with_its_path(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.mp4"
    path.write_bytes(content)
    with pytest.raises(VideoError, match=r"broken\.mp4"):
        Decoder().read(path, lambda _: picks(0))
    with pytest.raises(VideoError, match="no such file"):
        Decoder(tmp_path / "set", 1e9).read(tmp_path / "missing.mp4", lambda _: picks(0))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("x.mp4", {"codec": "libx264", "options": {"g": "50", "bf": "2"}}),  # decord, where it is
        ("x.mp4", {"codec": "libx264", "options": {"g": "12", "bf": "0"}}),  # jumped in
        ("x.webm", {"codec": "libvpx-vp9"}),
        ("x.avi", {"codec": "libx264"}),  # from the start
    ],
)
def test_a_film_stays_open_and_gives_the_frames_of_one_that_is_opened_anew(
    tmp_path: Path, name: str, options: dict[str, Any]
) -> None:
    path, other = film(tmp_path / name, 160, **options), film(tmp_path / "other.mp4", 3)
    kept, rng = Decoder(), np.random.default_rng(0)
    video = kept.open(path)
    for _ in range(6):
        wanted = np.sort(rng.choice(160, 5, replace=False))
        read = kept.read(path, lambda _, wanted=wanted: wanted)
        assert numbers(read) == wanted.tolist()
        assert np.array_equal(Decoder().read(path, lambda _, wanted=wanted: wanted), read)
        assert kept.open(path) is video
    kept.read(other, np.arange)
    assert kept.open(path) is not video


def test_a_film_that_is_another_now_is_opened_anew(tmp_path: Path) -> None:
    path, decoder = film(tmp_path / "x.mp4", 5), Decoder()
    assert numbers(decoder.read(path, np.arange)) == [0, 1, 2, 3, 4]
    film(tmp_path / "new.mp4", 3).replace(path)
    assert numbers(decoder.read(path, np.arange)) == [0, 1, 2]
    path.unlink()
    with pytest.raises(VideoError, match=r"x\.mp4"):
        decoder.read(path, np.arange)


def test_a_copy_of_a_decoder_has_nothing_open(tmp_path: Path) -> None:
    """As the loaders of a training get it."""
    path, decoder = film(tmp_path / "x.mp4", 3), Decoder()
    decoder.read(path, np.arange)
    assert numbers(pickle.loads(pickle.dumps(decoder)).read(path, np.arange)) == [0, 1, 2]
