"""MMAction2's proposals: read as they are written, and nothing in them is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from conftest import Run

from expander.data.ava.proposals import to_csv
from expander.data.ava.rows import read_boxes
from expander.errors import DataError

BOXES = np.array([[0.1, 0.2, 0.3, 0.9, 0.97], [0.5, 0.0, 1.0, 1.0, 0.25]])


class Evil:
    """Makes a folder when it is read."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.place),)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_they_become_a_file_of_detections(tmp_path: Path, protocol: int, kind: str) -> None:
    file, out = tmp_path / "p.pkl", tmp_path / "val_detected.csv"
    held = {"b,0903": BOXES[:1].astype(kind), "-5KQ66BBWC4,0902": BOXES.astype(kind), "b,0904": BOXES[:0]}
    file.write_bytes(pickle.dumps(held, protocol))
    text, frames, boxes = to_csv(file)
    assert (frames, boxes) == (3, 3)
    out.write_text(text)
    rows = read_boxes(out, detected=True)
    assert rows.video.tolist() == ["-5KQ66BBWC4", "-5KQ66BBWC4", "b"]
    assert rows.second.tolist() == [902, 902, 903]
    np.testing.assert_allclose(rows.boxes, np.concatenate([BOXES, BOXES[:1]])[:, :4], atol=1e-6)
    np.testing.assert_allclose(rows.score, [0.97, 0.25, 0.97], atol=1e-6)


@pytest.mark.parametrize("kind", ["float32", ">f4", "float64"])
def test_what_is_read_back_is_what_was_written(tmp_path: Path, kind: str) -> None:
    """Down to numbers that six digits would make 0."""
    file, out = tmp_path / "p.pkl", tmp_path / "val_detected.csv"
    rng = np.random.default_rng(0)
    low, size = 10.0 ** rng.uniform(-9, -0.4, (300, 2)), rng.uniform(0.1, 0.5, (300, 2))
    score = 1 - 10.0 ** rng.uniform(-9, -0.1, (300, 1))
    held = np.concatenate([low, low + size, score], axis=1).astype(kind)
    file.write_bytes(pickle.dumps({"v,0902": held}))
    out.write_text(to_csv(file)[0])
    rows = read_boxes(out, detected=True)
    np.testing.assert_array_equal(rows.boxes.astype(kind), held[:, :4])
    np.testing.assert_array_equal(rows.score.astype(kind), held[:, 4])


@pytest.mark.parametrize(
    ("held", "told"),
    [
        ({"a,902": Evil(Path("/"))}, "it names posix.mkdir, and proposals are arrays and nothing else"),
        ({"a": BOXES}, "expected keys such as '-5KQ66BBWC4,0902', found 'a'"),
        ({"a,902": BOXES[:, :4]}, r"'a,902': expected an array of \(n, 5\).*found \(2, 4\)"),
        ({"a,902": BOXES * 100}, "all from 0 to 1, found 0 to 100"),
        ({"a,902": BOXES * np.nan}, "found what are no numbers"),
        ({"a,902": BOXES.astype(object)}, "found what are no numbers"),
        ({"a,902": BOXES.tolist()}, "found list"),
        ([BOXES], "expected boxes by 'video,second', found list of 1"),
        ({}, "found dict of 0"),
    ],
)
def test_what_is_none_is_told(tmp_path: Path, held: object, told: str) -> None:
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps(held))
    with pytest.raises(DataError, match=rf"p\.pkl: .*{told}"):
        to_csv(file)


def test_nothing_in_a_file_is_run_and_one_line_says_so(expander: Run, tmp_path: Path) -> None:
    file = tmp_path / "p.pkl"
    file.write_bytes(pickle.dumps({"a,0902": BOXES, "b,0902": Evil(tmp_path / "made")}))
    refused = expander("data", "proposals", file, "--out", "out.csv")
    assert refused.returncode == 3
    assert len(refused.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "out.csv").exists()
    file.write_bytes(b"no pickle")
    assert "no pickle of proposals" in expander("data", "proposals", file, "--out", "out.csv").stderr
    file.write_bytes(pickle.dumps({"a,0902": BOXES}))
    done = expander("data", "proposals", file, "--out", "out.csv")
    assert done.stdout == "detections: out.csv, 2 boxes at 1 key frames\n"
