"""Where decord cannot be imported PyAV reads every video: the same frames, and the verdict says so."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from absent import needs_decord, without
from conftest import Run
from films import copied, film, numbers

from expander.video.decoder import Decoder
from expander.video.probe import NO_DECORD, Verdict
from expander.video.verdict_cache import Verdicts, key_of

PICKS = np.array([39, 3, 3, 17])
FILMS = {
    "h264.mp4": {"options": {"g": "12", "bf": "2"}},
    "hevc.mp4": {"codec": "libx265", "options": {"x265-params": "log-level=none"}},
    "vp9.webm": {"codec": "libvpx-vp9", "size": (65, 91)},
}


@pytest.fixture
def absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding processes that begin from now on have no decord."""
    for name, value in without(tmp_path / "absent", "decord").items():
        monkeypatch.setenv(name, value)


def read(path: Path, verdicts: Path | None = None) -> tuple[np.ndarray, Verdict]:
    """Four frames of a film, and how it was read."""
    decoder = Decoder(verdicts=verdicts)
    try:
        return decoder.read(path, lambda _: PICKS), decoder.examine(path)
    finally:
        decoder.close()


@pytest.mark.parametrize("name", FILMS)
def test_every_frame_is_found_by_its_number(tmp_path: Path, name: str, absent: None) -> None:  # noqa: ARG001
    found, verdict = read(film(tmp_path / name, 40, **FILMS[name]))  # type: ignore[arg-type]
    assert verdict == Verdict("pyav", NO_DECORD)
    assert numbers(found) == PICKS.tolist()


@needs_decord
@pytest.mark.parametrize("name", FILMS)
def test_frames_are_the_same_to_the_last_digit(
    tmp_path: Path, name: str, request: pytest.FixtureRequest
) -> None:
    path = film(tmp_path / name, 40, **FILMS[name])  # type: ignore[arg-type]
    expected, verdict = read(path)
    assert verdict == Verdict("decord")
    request.getfixturevalue("absent")
    assert np.array_equal(read(path)[0], expected)


@needs_decord
def test_what_is_known_of_a_film_is_the_same_with_decord_and_without(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A home that several machines share: none reads by what another one lacks."""
    path, file = film(tmp_path / "x.mp4", 40), tmp_path / "verdicts.jsonl"
    request.getfixturevalue("absent")
    assert read(path, file)[1] == Verdict("pyav", NO_DECORD)
    assert Verdicts(file).known[key_of(path)] == Verdict("decord")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("PYTHONPATH")
        assert read(path, file)[1] == Verdict("decord")
    assert read(path, file)[1] == Verdict("pyav", NO_DECORD)


@pytest.mark.parametrize("json_wanted", [False, True], ids=["text", "json"])
def test_data_check_says_once_that_decord_is_not_there(
    tmp_path: Path, expander: Run, json_wanted: bool
) -> None:
    whole = film(tmp_path / "a.mp4", 10)
    copied(whole, tmp_path / "b.avi")
    film(tmp_path / "c.mp4", 11)
    film(tmp_path / "d.mp4", 12)
    (tmp_path / "train.csv").write_text("a.mp4 0\nb.avi 1\n")
    (tmp_path / "val.csv").write_text("c.mp4 0\nd.mp4 1\n")
    options = ["--json"] if json_wanted else []
    done = expander("data", "check", str(tmp_path), *options, **without(tmp_path / "absent", "decord"))
    assert done.returncode == 0, done.stderr
    if json_wanted:
        found = json.loads(done.stdout)
        assert found["routes"] == {"pyav": 4}
        assert [row["reason"] for row in found["rows"]].count(NO_DECORD) == 3
    else:
        assert done.stdout.count(NO_DECORD) == 1
        assert f"4 read from the start with PyAV ({NO_DECORD} here)" in done.stdout
        assert "b.avi: read with PyAV: avi" in done.stdout
