"""The frames on a page are those that the network sees."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import ASSETS
from hypothesis import given, settings
from hypothesis import strategies as st

from expander.config.settings import DataConfig
from expander.data.clips import ViewClips
from expander.data.embedded import synthetic
from expander.data.sources import cache_folder, open_data
from expander.report.filmstrip import KEPT, centre_crop, clip, films, keep, montage
from expander.report.reader import History, history
from expander.report.videos import quarantined, videos_of
from expander.runs.journal import Run
from expander.specs.spec import Base, Spec
from expander.video.decoder import Decoder
from expander.video.transforms import MEAN, STD, centre_window, view
from expander.video.verdict_cache import NAME, key_of


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
    data = videos_of(past)
    assert not isinstance(data, str)
    film = films(data, [spec], past.run.folder)[0]
    assert film.missing == ""
    assert len({strip.label for strip in film.strips}) == 3
    seen, label, _ = ViewClips(data.val, spec, 1, Decoder())[0]
    assert film.strips[0].label == data.classes[label]
    pixels = clip(spec, data.val.paths[0], Decoder())
    assert np.abs(pixels - (seen * STD + MEAN).mul(255).numpy()).max() <= 0.51
    assert montage(pixels).shape == (24, 3 * 24 + 2 * 2, 3)


def test_videos_that_are_gone_or_others_are_told(past: History, videos: Path, tmp_path: Path) -> None:
    spec = Spec(Base(frames=1, crop=24))
    text = past.run.journal.read_text()
    past.run.journal.write_text(text.replace(str(videos), str(tmp_path / "gone")))
    gone = videos_of(history(past.run))
    assert "gone" in str(gone)
    assert films(gone, [spec], tmp_path)[0].missing == gone
    past.run.journal.write_text((ASSETS / "journal-v1.jsonl").read_text())
    assert "not on this machine" in str(videos_of(history(past.run)))


def test_a_run_on_embedded_videos_of_an_earlier_version_says_so(
    past: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = partial(synthetic.SetConfig, train=1, val=1, frames=2, height=32, width=40)
    monkeypatch.setattr(synthetic, "SetConfig", small)
    past.run.journal.write_text((ASSETS / "journal-v1.jsonl").read_text())
    synthetic.ensure(cache_folder(), workers=1)
    assert "embedded videos of an earlier version" in str(videos_of(history(past.run)))


def test_frames_kept_in_the_run_folder_stand_in_for_lost_videos(past: History, tmp_path: Path) -> None:
    spec = Spec(Base(frames=2, stride=2, crop=24))
    shown = films(videos_of(past), [spec], tmp_path)
    (tmp_path / KEPT).write_text(keep(shown))
    assert films("gone", [spec], tmp_path) == shown
    (tmp_path / KEPT).write_text(keep(shown).replace("data:image/", "https://x/"))
    assert films("gone", [spec], tmp_path)[0].missing == "gone"
    (tmp_path / KEPT).write_text(f'{{"{spec.id}": [{{"label": 1}}]}}')
    assert films("gone", [spec], tmp_path)[0].missing == "gone"


def test_videos_known_to_be_unreadable_are_named(past: History, tmp_path: Path) -> None:
    data = videos_of(past)
    assert not isinstance(data, str)
    assert quarantined(data) == []
    bad = data.train.paths[1]
    row = {"key": key_of(bad), "route": "bad", "reason": "frame 3 is damaged"}
    file = tmp_path / "cache" / "expander" / NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(row) + "\n")
    assert quarantined(data) == [(str(bad), "frame 3 is damaged")]
