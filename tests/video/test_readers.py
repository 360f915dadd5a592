"""Odd, broken and hanging files: the right frames or a clear error, never a wrong frame, never a hang."""

from __future__ import annotations

import json
import os
import select
import signal
import struct
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from films import copied, film, numbers, trimmed

from expander.video.decoder import Decoder, VideoError
from expander.video.probe import Verdict, examine
from expander.video.readers import AvReader
from expander.video.verdict_cache import Verdicts, key_of
from expander.video.worker import DecodingProcess


def shown(path: Path) -> list[int]:
    """The numbers that all frames of a video carry, read by the real decoder in one go."""
    return numbers(Decoder().read(path, np.arange))


ORDINARY = {
    "h264.mp4": {"options": {"g": "12", "bf": "2"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "size": (65, 91)},
    "variable.mp4": {"times": [n * n for n in range(40)]},
    "ntsc.mkv": {"fps": Fraction(30000, 1001)},
}


@pytest.mark.parametrize("name", ORDINARY)
def test_ordinary_files_go_to_decord_and_give_every_frame(tmp_path: Path, name: str) -> None:
    path = film(tmp_path / name, 40, **ORDINARY[name])  # type: ignore[arg-type]
    assert examine(path).route == "decord"
    assert shown(path) == list(range(40))
    assert numbers(Decoder().read(path, lambda _: np.array([39, 3, 3, 17]))) == [39, 3, 3, 17]


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    assert shown(film(tmp_path / "one.mp4", 1)) == [0]


def test_an_edit_list_is_applied(tmp_path: Path) -> None:
    whole = film(tmp_path / "whole.mp4", 60, options={"g": "12", "bf": "2"})
    path = trimmed(whole, tmp_path / "trimmed.mp4", 17)
    assert (examine(path).route, examine(path).reason) == ("pyav", "an edit list cuts frames off")
    assert shown(path) == list(range(17, 60))
    assert numbers(Decoder().read(path, lambda _: np.array([30, 2]))) == [47, 19]


def test_pyav_gives_the_same_frames_kept_in_memory_or_decoded_a_second_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = film(tmp_path / "x.ts", 40, options={"bf": "2"})
    kept = AvReader(path)
    monkeypatch.setattr("expander.video.readers.KEPT_BYTES", 0)
    again = AvReader(path)
    assert (kept.kept is None, again.kept is None) == (False, True)
    for unique in ([0], [3, 7], [8, 30], [2, 39]):  # on, and back
        wanted = np.array(unique)
        assert numbers(kept.gather(wanted)) == numbers(again.gather(wanted)) == unique


@pytest.mark.parametrize(("name", "reason"), [("x.ts", "MPEG-TS"), ("av1.mp4", "AV1")])
def test_containers_and_codecs_that_decord_cannot_read_go_to_pyav(
    tmp_path: Path, name: str, reason: str
) -> None:
    path = film(tmp_path / name, 30, codec="libsvtav1" if reason == "AV1" else "libx264")
    assert (examine(path).route, examine(path).reason) == ("pyav", reason)
    assert shown(path) == list(range(30))


@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_are_turned_as_they_are_shown(tmp_path: Path, rotation: int) -> None:
    path = film(tmp_path / "turned.mp4", 5, rotation=rotation)
    frames = Decoder().read(path, np.arange)
    assert frames.shape[1:3] == ((64, 96) if rotation == 180 else (96, 64))
    back = np.rot90(frames, -rotation // 90, axes=(1, 2))
    assert numbers(back) == list(range(5))


def test_a_folder_of_pictures_is_a_video(tmp_path: Path) -> None:
    from films import picture

    for number in range(7):
        with av.open(str(tmp_path / f"img_{number + 1:05d}.jpg"), "w", format="image2") as container:
            stream = container.add_stream("mjpeg", rate=1)
            stream.height, stream.width, stream.pix_fmt = 64, 96, "yuvj420p"
            frame = av.VideoFrame.from_ndarray(picture(number, 64, 96), format="rgb24")
            container.mux(stream.encode(frame))
    assert shown(tmp_path) == list(range(7))


def broken(tmp_path: Path) -> dict[str, Path]:
    """Files that are no videos, by what is wrong with them."""
    whole = film(tmp_path / "whole.mp4", 60).read_bytes()
    fast = copied(tmp_path / "whole.mp4", tmp_path / "fast.mp4", options={"movflags": "faststart"})
    with av.open(str(tmp_path / "sound.mp4"), "w") as container:
        sound = container.add_stream("aac", rate=16000)
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(sound.encode(silence))
        container.mux(sound.encode(None))
    contents = {
        "empty": b"", "text": b"no video at all\n" * 9, "html": b"<!doctype html><html></html>",
        "no index": whole[: len(whole) // 2], "cut": fast.read_bytes()[: fast.stat().st_size * 7 // 10],
    }  # fmt: skip
    paths = {"sound only": tmp_path / "sound.mp4", "missing": tmp_path / "missing.mp4"}
    for name, content in contents.items():
        paths[name] = tmp_path / f"{name}.mp4"
        paths[name].write_bytes(content)
    return paths


def test_broken_files_are_told_with_their_path_and_nothing_on_the_terminal(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, path in broken(tmp_path).items():
        with pytest.raises(VideoError, match=str(path)) as error:
            Decoder(noise=tmp_path / "noise.log").read(path, np.arange)
        assert str(error.value).count("\n") == 0, name
    assert capfd.readouterr().err == ""


def test_a_file_that_hangs_its_decoder_costs_one_process_and_is_not_tried_again(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.mp4"
    os.mkfifo(pipe)  # opened for reading, it waits for ever for a writer
    good = film(tmp_path / "good.mp4", 3)
    verdicts = tmp_path / "verdicts.jsonl"
    Verdicts(verdicts).add(key_of(pipe), Verdict("decord"))  # or its length of 0 gives it away
    frames = Decoder(verdicts=verdicts, timeout=4)
    frames.read(good, np.arange)
    child = frames.process.child
    assert child is not None
    with pytest.raises(VideoError, match=r"pipe\.mp4: decoding it took over 4 s"):
        frames.read(pipe, np.arange)
    assert child.poll() == -signal.SIGKILL
    assert numbers(frames.read(good, np.arange)) == [0, 1, 2]
    frames.process.timeout = 600
    with pytest.raises(VideoError, match="took over"):  # from memory: this one would wait for long
        frames.read(pipe, np.arange)
    # Another run tries it again: the disk may have been slow, or the time too short.
    another = Decoder(verdicts=verdicts, timeout=1)
    with pytest.raises(VideoError, match="took over 1 s"):
        another.read(pipe, np.arange)


def test_a_decoder_that_stops_in_the_middle_is_killed(tmp_path: Path) -> None:
    path = film(tmp_path / "x.mp4", 3)
    process = DecodingProcess(timeout=4)
    video = process.open(path)
    assert process.child is not None
    stopped = process.child.pid
    os.kill(stopped, signal.SIGSTOP)
    with pytest.raises(Exception, match="took over"):
        process.gather(video, np.arange(3))
    with pytest.raises(ProcessLookupError):
        os.kill(stopped, 0)


def test_a_decoder_that_crashes_is_a_bad_video_and_the_next_one_is_read(tmp_path: Path) -> None:
    path, other = film(tmp_path / "x.mp4", 3), film(tmp_path / "y.mp4", 4)
    frames = Decoder()

    def kill_then(length: int) -> np.ndarray:
        assert frames.process.child is not None
        frames.process.child.kill()
        return np.arange(length)

    with pytest.raises(VideoError, match="crashed"):
        frames.read(path, kill_then)
    assert numbers(frames.read(other, np.arange)) == [0, 1, 2, 3]
    # Somebody killed it: that says nothing of the video.
    assert numbers(frames.read(path, np.arange)) == [0, 1, 2]

    def crash_then(length: int) -> np.ndarray:
        assert frames.process.child is not None
        frames.process.child.send_signal(signal.SIGSEGV)
        return np.arange(length)

    for _ in range(2):
        with pytest.raises(VideoError, match="crashed over it"):
            frames.read(path, crash_then)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_whole_group_is_not_taken_for_a_crash(tmp_path: Path, number: int) -> None:
    path, frames = film(tmp_path / "x.mp4", 3), Decoder()

    def interrupt_then(length: int) -> np.ndarray:
        assert frames.process.child is not None
        frames.process.child.send_signal(number)  # a terminal sends it to parent and child
        return np.arange(length)

    assert numbers(frames.read(path, interrupt_then)) == [0, 1, 2]


def test_a_hanging_decoder_ends_by_itself_when_its_parent_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    monkeypatch.setattr("expander.video.worker.GRACE", 1)
    process = DecodingProcess(timeout=3)
    process.open(film(tmp_path / "x.mp4", 3))
    assert process.child is not None
    request = json.dumps({"open": str(tmp_path / "pipe.mp4"), "verdict": {"route": "decord", "reason": ""}})
    assert process.child.stdin is not None
    process.child.stdin.write(struct.pack("<I", len(request)) + request.encode())
    process.child.stdin.flush()  # and nobody waits for the answer
    assert process.child.wait(20) == -signal.SIGALRM


def test_no_process_is_left_when_its_parent_is_killed(tmp_path: Path) -> None:
    film(tmp_path / "x.mp4", 3)
    code = (
        "import sys, time; from pathlib import Path; from expander.video.worker import DecodingProcess\n"
        "p = DecodingProcess(60); p.open(Path('x.mp4')); print(p.child.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=tmp_path, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([child], [], [], 20)
    os.close(child)
    assert ended


@pytest.mark.slow
def test_200_damaged_files_give_frames_or_an_error_and_no_hang(tmp_path: Path) -> None:
    """A frame that comes back from a file cut short must be the frame asked for.

    Bits that flip inside a picture cannot be told from a picture: there only the count is checked.
    """
    sources = [
        film(tmp_path / "a.mp4", 90, options={"g": "12", "bf": "2"}),
        film(tmp_path / "b.webm", 60, codec="libvpx-vp9"),
        film(tmp_path / "c.ts", 60, options={"bf": "0"}),
        film(tmp_path / "d.avi", 60, codec="mpeg4"),
    ]
    rng = np.random.default_rng(0)
    frames, outcomes = Decoder(timeout=20), {"frames": 0, "error": 0, "hang": 0}
    for number in range(200):
        source = sources[number % 4]
        content = bytearray(source.read_bytes())
        cut = number % 8 < 4
        if cut:
            del content[int(rng.integers(1, len(content))) :]
        else:
            for place in rng.integers(0, len(content), size=8):
                content[place] ^= int(rng.integers(1, 256))
        path = tmp_path / f"{number}{source.suffix}"
        path.write_bytes(content)
        try:
            found = frames.read(path, np.arange)
        except VideoError as error:
            outcomes["hang" if "took over" in str(error) else "error"] += 1
            continue
        outcomes["frames"] += 1
        if cut:
            assert numbers(found) == list(range(len(found)))
    assert outcomes["hang"] == 0
    assert min(outcomes["frames"], outcomes["error"]) > 20
