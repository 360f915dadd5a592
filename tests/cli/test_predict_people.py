"""What people in a film do, by a random network: films and folders of pictures, names of drawn films."""

from __future__ import annotations

import json
from pathlib import Path

import av
import pytest
import torch
from conftest import Run
from films import film, textured

from expander.model.detector import network_of
from expander.specs.spec import Base, Spec
from expander.weights.safetensors_file import save_weights

SPEC = Spec(Base(frames=4, stride=2, crop=32, stem_width=8, depths=(1, 1), head_width=16, classes=2))
ASKED = "second,x1,y1,x2,y2\n0.5,0.2,0.1,0.7,0.9\n1.4,0.2,0.1,0.7,0.9\n"


@pytest.fixture
def asked(tmp_path: Path) -> tuple[str, ...]:
    """Options of `predict`: weights and boxes."""
    torch.manual_seed(0)
    save_weights(tmp_path / "w.safetensors", network_of(SPEC, "detection"), SPEC, ("sit", "wave"),
                 task="detection")  # fmt: skip
    (tmp_path / "asked.csv").write_text(ASKED)
    return "--weights", "w.safetensors", "--boxes", "asked.csv"


def pictures_of(source: Path, folder: Path) -> None:
    """The frames of a film as PNG files, without any loss."""
    folder.mkdir()
    with av.open(str(source)) as container:
        for number, frame in enumerate(container.decode(video=0), 1):
            frame.to_image().save(folder / f"img_{number:05d}.png")


def test_a_folder_of_pictures_is_a_film_of_thirty_frames_a_second(
    expander: Run, asked: tuple[str, ...], tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", 48, fps=30, draw=textured)
    pictures_of(tmp_path / "a.mp4", tmp_path / "a")
    of_film, of_pictures = (expander("predict", name, *asked, "--json") for name in ("a.mp4", "a"))
    assert of_pictures.returncode == 0, of_pictures.stderr
    assert of_pictures.stdout == of_film.stdout
    first, second = json.loads(of_pictures.stdout)
    assert (first["second"], second["second"]) == (0.5, 1.4)
    assert first["actions"] != second["actions"]
    assert expander("predict", "a", *asked, "--draw", "drawn.MP4").returncode == 0
    with av.open(str(tmp_path / "drawn.MP4")) as container:
        assert container.streams.video[0].average_rate == 30
        assert sum(1 for _ in container.decode(video=0)) == 48


def test_a_second_after_the_last_picture_is_told(
    expander: Run, asked: tuple[str, ...], tmp_path: Path
) -> None:
    film(tmp_path / "a.mp4", 36, fps=30)
    pictures_of(tmp_path / "a.mp4", tmp_path / "a")
    refused = expander("predict", "a", *asked)
    assert refused.returncode == 3
    assert refused.stderr.endswith("asked.csv:3: second 1.4 is after the end of a, which has 1.20 s\n")


def test_a_folder_without_boxes_is_refused(expander: Run, asked: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    refused = expander("predict", "a", *asked[:2])
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == "error: VIDEO a: is a folder; one of pictures goes with --boxes\n"


NAMES = {
    "out.avi": "films are written as MP4; name a file that ends in .mp4",
    "out": "films are written as MP4; name a file that ends in .mp4",
    "nowhere/out.mp4": "there is no folder {}/nowhere",
    "asked.csv/out.mp4": "there is no folder {}/asked.csv",
}


@pytest.mark.parametrize(("name", "said"), NAMES.items())
def test_a_name_that_no_drawn_film_can_have_is_refused_before_anything_is_read(
    expander: Run, asked: tuple[str, ...], tmp_path: Path, name: str, said: str
) -> None:
    """The video is none and there are no boxes: who looked at them would say so."""
    (tmp_path / "v.mp4").write_bytes(b"no video")
    (tmp_path / "none.csv").write_text("")
    refused = expander("predict", "v.mp4", *asked[:2], "--boxes", "none.csv", "--draw", name)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr == f"error: --draw {name}: {said.format(tmp_path)}\n"
