"""The frames on a page are those that the network sees."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ASSETS
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.config import DataConfig
from expander.data.dataset import ViewClips
from expander.data.decode import Decoder
from expander.data.sources import open_data
from expander.data.transforms import MEAN, STD, centre_window, view
from expander.report.film import centre_crop, films, montage
from expander.report.history import History, history
from expander.spec import Base, Spec
from expander.store import Run


@settings(max_examples=30, deadline=None)
@given(st.integers(20, 70), st.integers(20, 70), st.integers(8, 40))
def test_the_crop_is_the_validation_view(height: int, width: int, crop: int) -> None:
    spec = Spec(Base(crop=crop, crop_divisor=1))
    frames = np.random.default_rng(0).integers(0, 256, (2, height, width, 3)).astype(np.uint8)
    seen = view(torch.from_numpy(frames), centre_window(height, width, spec))
    bytes_of_it = (seen * STD + MEAN).mul(255).numpy()
    assert np.abs(centre_crop(frames, spec.test_size, spec.crop) - bytes_of_it).max() <= 0.51


@pytest.fixture
def past(tmp_path: Path, videos: Path, monkeypatch: pytest.MonkeyPatch) -> History:
    """A recorded run on the test videos."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shutil.copy(ASSETS / "journal-v1.jsonl", tmp_path / "journal.jsonl")
    lists = str(videos / "train.txt"), str(videos / "val.txt")
    config = DataConfig(train_ann=lists[0], val_ann=lists[1], root=str(videos))
    data = open_data(config)
    text = (tmp_path / "journal.jsonl").read_text()
    text = text.replace('"root":null,"train_ann":null,"val_ann":null',
                        f'"root":"{videos}","train_ann":"{lists[0]}","val_ann":"{lists[1]}"')  # fmt: skip
    text = text.replace('"data_fingerprint":"f00d"', f'"data_fingerprint":"{data.fingerprint}"')
    (tmp_path / "journal.jsonl").write_text(text)
    return history(Run(tmp_path))


def test_the_frames_are_those_of_the_middle_validation_view(past: History) -> None:
    spec = Spec(Base(frames=3, stride=5, crop=24, crop_divisor=2))
    film = films(past, [spec])[0]
    assert film.missing == ""
    assert len({strip.label for strip in film.strips}) == 3
    assert past.start is not None
    data = open_data(past.start.data)
    clip, label, _ = ViewClips(data.val, spec, 1, Decoder())[0]
    assert film.strips[0].label == data.classes[label]
    seen = (clip * STD + MEAN).mul(255).numpy()
    assert np.abs(film.strips[0].pixels - seen).max() <= 0.51
    assert montage(film.strips[0]).shape == (24, 3 * 24 + 2 * 2, 3)


def test_videos_that_are_gone_or_others_are_told(past: History, videos: Path, tmp_path: Path) -> None:
    spec = Spec(Base(frames=1, crop=24))
    text = past.run.journal.read_text()
    past.run.journal.write_text(text.replace(str(videos), str(tmp_path / "gone")))
    assert "gone" in films(history(past.run), [spec])[0].missing
    past.run.journal.write_text((ASSETS / "journal-v1.jsonl").read_text())
    assert "not on this machine" in films(history(past.run), [spec])[0].missing
