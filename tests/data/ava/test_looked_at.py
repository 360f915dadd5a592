"""Which detections count: AVA's lists at every second that is not excluded, one's own at their key frames."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from films import film

from expander.config.settings import DataConfig
from expander.data.ava.boxes import to_test, to_validate
from expander.data.ava.folder import open_detection, open_validation
from expander.errors import DataError
from expander.metrics.frame_map import average_precisions
from expander.training.detection.scores import Answers, measured

BOX, AWAY = "0.1,0.1,0.4,0.9", "0.6,0.1,0.9,0.9"


def ava(root: Path) -> Path:
    """Truth at 902 and 903; detections also at 904, where nobody is, and at 905, which is excluded."""
    (root / "annotations").mkdir(parents=True)
    for split in ("train", "val"):
        film(root / f"videos_15min/{split}.mp4", 5)
        (root / f"annotations/ava_{split}_v2.2.csv").write_text(
            "".join(f"{split},{second:04d},{BOX},1,0\n" for second in (902, 903)))  # fmt: skip
    (root / "annotations/ava_detection_val.csv").write_text(
        "".join(f"val,{second:04d},{BOX},,0.9\n" for second in (902, 903, 904, 905)))  # fmt: skip
    (root / "annotations/ava_val_excluded_timestamps_v2.2.csv").write_text("val,0905\n")
    return root


def test_who_is_found_where_nobody_is_counts_against_the_network(tmp_path: Path) -> None:
    config = DataConfig(str(ava(tmp_path)))
    data = open_detection(config)
    frames = to_test(data)
    assert [frame.second for frame in frames] == [902, 903, 904]  # 905 is excluded
    likely = {0: np.array([[0.9]]), 1: np.array([[0.5]]), 2: np.array([[0.7]])}
    scores = measured(frames, Answers(likely, ()), data, config)
    # By hand: hits at ranks 1 and 3, precisions 1 and 2/3.
    assert average_precisions(scores.each).tolist() == pytest.approx([(1 + 2 / 3) / 2])


@pytest.mark.parametrize(
    ("stride", "truth", "tested"),
    [
        (1, [902, 903], [902, 903, 904]),
        (2, [902], [902, 904]),
        (3, [903], [903]),
        (4, [902, 903], [902, 903, 904]),  # at 904 is no label
        (5, [902, 903], [902, 903, 904]),
    ],
)
def test_a_validation_looks_at_the_seconds_that_its_stride_divides_or_at_all(
    tmp_path: Path, stride: int, truth: list[int], tested: list[int]
) -> None:
    data, frames = to_validate(open_detection(DataConfig(str(ava(tmp_path)))), 0.8, stride)
    assert [frame.second for frame in data.val.truth] == truth
    assert [frame.second for frame in frames] == tested


def test_a_detector_may_have_looked_at_more_seconds_of_ones_own_films(tmp_path: Path) -> None:
    for name in ("a", "b"):
        film(tmp_path / f"{name}.mp4", 5)
    head = "video,second,x1,y1,x2,y2,"
    (tmp_path / "train.csv").write_text(f"{head}labels\na.mp4,0.5,{BOX},wave\n")
    (tmp_path / "val.csv").write_text(f"{head}labels\nb.mp4,0.5,{BOX},wave\n")
    (tmp_path / "val_detected.csv").write_text(f"{head}score\nb.mp4,0.5,{AWAY},0.9\nb.mp4,0.75,{BOX},0.9\n")
    (frame,) = to_test(open_detection(DataConfig(str(tmp_path))))
    assert frame.second == 0.5


def test_a_test_needs_no_training_list_and_none_of_its_videos(tmp_path: Path) -> None:
    root = ava(tmp_path)
    (root / "videos_15min/train.mp4").unlink()
    config = DataConfig(str(root))
    assert len(open_validation(config, ("1",)).val) == 2
    (root / "annotations/ava_train_v2.2.csv").unlink()
    found = open_validation(config, ("1",))
    assert (len(found.val), len(found.train), found.classes) == (2, 0, ("1",))
    with pytest.raises(DataError, match="no list of boxes for train"):
        open_detection(config)
    (root / "annotations/evaluation.csv").write_text("of something else\n")
    assert open_validation(config, ("1",)).val.file.name == "ava_val_v2.2.csv"
