"""Folders of pictures: which pictures are the frames, and what `data check` says of those that are none."""

from __future__ import annotations

from pathlib import Path

import av
import numpy as np
import pytest
from conftest import Run
from films import numbers, picture

from expander.video.decoder import Decoder, VideoError
from expander.video.pictures import fault_of, survey


def frames_folder(folder: Path, template: str = "img_{:05d}.jpg", first: int = 1, count: int = 6) -> Path:
    """Pictures that carry 0, 1, 2, …, named by the template from `first` on."""
    folder.mkdir(parents=True, exist_ok=True)
    codec, pixels = ("png", "rgb24") if template.endswith("png") else ("mjpeg", "yuvj420p")
    for number in range(count):
        # image2 would take a % for a pattern of its own; these names have none.
        with av.open(str(folder / template.format(number + first)), "w", format="image2") as container:
            stream = container.add_stream(codec, rate=1)
            stream.height, stream.width, stream.pix_fmt = 64, 96, pixels
            frame = av.VideoFrame.from_ndarray(picture(number, 64, 96), format="rgb24")
            container.mux(stream.encode(frame))
    return folder


TEMPLATES = ("img_{:05d}.jpg", "image_{:05d}.jpg", "{:06d}.jpg", "{:05d}.jpg", "frame{:04d}.png", "{}.jpeg")


@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("template", TEMPLATES)
def test_pictures_of_any_template_are_frames_numbered_from_0_or_1(
    tmp_path: Path, template: str, first: int
) -> None:
    folder = frames_folder(tmp_path / "v", template, first, 12)
    assert numbers(Decoder().read(folder, np.arange)) == list(range(12))
    assert fault_of(folder, 12) == ""


@pytest.mark.parametrize("lost", [2, 4, 5])
def test_a_gap_is_told_and_never_cuts_the_video(tmp_path: Path, lost: int) -> None:
    folder = frames_folder(tmp_path / "v")
    (folder / f"img_{lost:05d}.jpg").unlink()
    told = rf"picture {lost} is missing \(1 of img_00001\.jpg to img_00006\.jpg are\)"
    with pytest.raises(VideoError, match=told):
        Decoder().probe(folder)


def test_pictures_that_begin_late_are_told(tmp_path: Path) -> None:
    folder = frames_folder(tmp_path / "v", first=3)
    with pytest.raises(VideoError, match=r"its pictures begin with img_00003\.jpg"):
        Decoder().probe(folder)


def test_the_pictures_of_colour_are_read_where_those_of_flow_lie_beside_them(tmp_path: Path) -> None:
    folder = frames_folder(tmp_path / "v")
    for name in ("flow_x_00001.jpg", "flow_y_00001.jpg", "._img_00007.jpg", "notes.txt"):
        (folder / name).write_bytes(b"x")
    assert survey(folder).names == tuple(f"img_{number:05d}.jpg" for number in range(1, 7))


@pytest.mark.parametrize(
    ("names", "fault"),
    [
        (("a_1.jpg", "b_1.jpg"), "its pictures are of several series (a_1.jpg, b_1.jpg); one is read"),
        (("notes.txt",), "no numbered pictures in it, such as img_00001.jpg"),
        ((), "no numbered pictures in it, such as img_00001.jpg"),
        (("img_1.jpg", "img_01.jpg"), "img_01.jpg and img_1.jpg have one number"),
        (("img_1.jpg", "img_2.jpg"), "img_2.jpg is empty, as are 1 of 2"),
    ],
)
def test_pictures_that_are_no_video_are_told_why(tmp_path: Path, names: tuple[str, ...], fault: str) -> None:
    for number, name in enumerate(names):
        (tmp_path / name).write_bytes(b"" if number else b"x")
    assert fault_of(tmp_path) == fault


def test_data_check_counts_pictures_against_the_list(tmp_path: Path, expander: Run) -> None:
    root = tmp_path / "d"
    for name in ("whole", "zero", "gap", "fewer", "v"):
        frames_folder(root / name, first=0 if name == "zero" else 1)
    (root / "gap" / "img_00004.jpg").unlink()
    (root / "none").mkdir()
    (root / "train.txt").write_text("whole 6 0\nzero 6 1\ngap 6 0\nfewer 9 1\nnone 6 1\n")
    (root / "val.txt").write_text("v 6 0\n")
    done = expander("data", "check", "d")
    assert done.returncode == 3
    assert "3 of 6 videos cannot be decoded" in done.stderr
    assert done.stdout.splitlines() == [
        f"{root}/gap: picture 4 is missing (1 of img_00001.jpg to img_00006.jpg are): "
        "extract the frames again; 6 listed, 5 there",
        f"{root}/fewer: pictures: 9 listed, 6 there; extract them again, or correct the list",
        f"{root}/none: no numbered pictures in it, such as img_00001.jpg; 6 listed, 0 there",
        "3 folders of pictures; 3 not read",
    ]
    (root / "train.txt").write_text("whole 6 0\nzero 6 1\n")
    assert expander("data", "check", "d").stdout == "3 videos, all can be decoded\n3 folders of pictures\n"


def test_pictures_that_are_replaced_are_read_anew(tmp_path: Path) -> None:
    """A folder does not change when a file in it is written to."""
    folder = frames_folder(tmp_path / "clip")
    kept = tmp_path / "cache" / "set", 1e9, tmp_path / "verdicts.jsonl"
    before = Decoder(*kept).read(folder, np.arange)
    others = [file.read_bytes() for file in sorted(folder.iterdir(), reverse=True)]
    for file, content in zip(sorted(folder.iterdir()), others, strict=True):
        file.write_bytes(content)
    after = Decoder(*kept).read(folder, np.arange)
    fresh = Decoder().read(folder, np.arange)
    assert not np.array_equal(before, fresh)
    assert np.array_equal(after, fresh)
