"""A data set for action detection as it lies on disk: which lists are there, and all of it, checked.

    annotations/ or the folder itself     *train*.csv and *val*.csv: boxes and actions (rows.py)
      and person_box*/ in it              the same with detect, predicted or proposals in the name: boxes of
                                          a detector of people
                                          *excluded*: seconds that are not counted
                                          *.pbtxt or classes.txt: names of the actions

Of several files of one kind, such as v2.1 and v2.2, the last by name is read. footage.py: where frames lie.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path

import numpy as np

from expander.config.reading import is_file, is_folder
from expander.config.settings import DataConfig
from expander.data.ava.annotations import class_names, key_frames
from expander.data.ava.excluded import read_excluded
from expander.data.ava.footage import PLACES, ava_footage, own_footage
from expander.data.ava.keyframes import DetectionData, DetectionSplit, Footage, KeyFrame
from expander.data.ava.label_map import read_label_map
from expander.data.ava.rows import BoxRows, begins_boxes, read_boxes
from expander.data.rows import read_text
from expander.data.sources import embedded_detection, listed_classes
from expander.data.store.addresses import is_remote
from expander.errors import DataError

log = logging.getLogger(__name__)
SPLITS = ("train", "val")
VAL = re.compile(r"(?<![a-z])val(?![a-z])|validation")
"""In the names of files of validation; `evaluation` is another word."""
DETECTED = ("detect", "predicted", "proposals")
"""In the names of files of detections."""


@dataclass(frozen=True, slots=True)
class _Lists:
    """The files of one split, and the label maps of both."""

    truth: Path
    detected: Path | None
    excluded: Path | None


def recognised(folder: Path) -> bool:
    """Whether a folder has lists of boxes: that of training begins with a row or a header of them."""
    found = None if is_remote(folder) or not is_folder(folder) else _last(folder, "train", "truth")
    if found is None:
        return False
    return begins_boxes(read_text(found).strip().partition("\n")[0])


def open_detection(
    config: DataConfig, progress: Callable[[int, int], None] | None = None
) -> DetectionData:  # fmt: skip
    """The key frames of a folder, checked; without a folder those of the embedded set, which is made on first
    use. Raises DataError with file:line, EnvironmentFault.

    Key frames of videos that are not on disk are left out, and told.
    """
    folder = _folder(config, progress)
    lists = {split: _lists(folder, split) for split in SPLITS}
    rows = {split: read_boxes(found.truth, detected=False) for split, found in lists.items()}
    maps = [read_label_map(file) for file in _files(folder, ".pbtxt")]
    named = {number: name for label_map in maps for number, name in label_map.items()}
    classes = class_names(rows["train"], named, listed_classes(folder))
    root = Path(config.root or folder)
    train, val = (_split(lists[split], rows[split], classes, root, config.allow_outside) for split in SPLITS)
    _check_apart(train, val)
    files = [file for found in lists.values() for file in astuple(found) if file]
    return _checked(config, train, val, classes, maps, files, rows["train"].numbered)


def open_validation(
    config: DataConfig, classes: tuple[str, ...], progress: Callable[[int, int], None] | None = None
) -> DetectionData:  # fmt: skip
    """The validation key frames of a folder alone, which may have no training list or none of its videos.

    classes: of the network, for a folder that does not name its own. Raises as `open_detection`.
    """
    folder = _folder(config, progress)
    lists = _lists(folder, "val")
    rows = read_boxes(lists.truth, detected=False)
    maps = [read_label_map(file) for file in _files(folder, ".pbtxt")]
    named = {number: name for label_map in maps for number, name in label_map.items()}
    if named or listed_classes(folder):
        classes = class_names(rows, named, listed_classes(folder))
    val = _split(lists, rows, classes, Path(config.root or folder), config.allow_outside)
    files = [file for file in astuple(lists) if file]
    train = DetectionSplit(lists.truth, (), None, {})
    return _checked(config, train, val, classes, maps, files, rows.numbered)


def _folder(config: DataConfig, progress: Callable[[int, int], None] | None) -> Path:
    if config.train_ann is not None:
        raise DataError("data for detection is a folder with lists of boxes in it: name it with --data, "
                        "instead of --train-ann and --val-ann")  # fmt: skip
    folder = embedded_detection(progress) if config.folder is None else Path(config.folder)
    if is_remote(folder) or not is_folder(folder):
        raise DataError(f"{folder}: no folder of this machine, which data for detection must be")
    return folder


def _checked(
    config: DataConfig, train: DetectionSplit, val: DetectionSplit, classes: tuple[str, ...],
    maps: list[dict[int, str]], files: list[Path], numbered: bool,
) -> DetectionData:  # fmt: skip
    """All of it. Raises DataError where there is nothing to measure."""
    evaluated = tuple(number - 1 for number in maps[-1]) if maps else tuple(range(len(classes)))
    _check_measured(val, evaluated)
    fingerprint = _fingerprint(train, val, classes, evaluated, (config.train_score, config.test_score))
    return DetectionData(train, val, classes, evaluated, fingerprint, tuple(files), numbered)


def _files(folder: Path, ending: str) -> list[Path]:
    """The files of the annotations with this ending, by name."""
    top = folder / "annotations" if is_folder(folder / "annotations") else folder
    places = [top, *sorted(top.glob("person_box*"))]
    return [file for place in places for file in sorted(place.glob(f"*{ending}")) if is_file(file)]


def _last(folder: Path, split: str, kind: str) -> Path | None:
    """The newest file of a kind: `truth`, `detected` or `excluded`."""
    found = None
    for file in _files(folder, ".csv"):
        name = file.name.lower()
        of_train, own = "train" in name, "excluded" if "excluded" in name else "truth"
        if own == "truth" and any(word in name for word in DETECTED):
            own = "detected"
        of_val = not of_train and VAL.search(name) is not None
        both = own == "excluded" and not of_train and not of_val
        if own == kind and (both or (of_train if split == "train" else of_val)):
            found = file
    return found


def _lists(folder: Path, split: str) -> _Lists:
    truth = _last(folder, split, "truth")
    if truth is None:
        raise DataError(f"{folder}: no list of boxes for {split}: neither it nor annotations/ in it has a "
                        f"*{split}*.csv such as ava_{split}_v2.2.csv")  # fmt: skip
    return _Lists(truth, _last(folder, split, "detected"), _last(folder, split, "excluded"))


def _split(
    lists: _Lists, rows: BoxRows, classes: tuple[str, ...], root: Path, outside: bool
) -> DetectionSplit:  # fmt: skip
    excluded = read_excluded(lists.excluded) if lists.excluded else frozenset()
    truth = key_frames(rows, classes, excluded)
    footage = _footage(rows, truth, root, outside)
    kept = tuple(frame for frame in truth if frame.video in footage)
    if not kept:
        raise DataError(f"{lists.truth}: none of its key frames is left: all are excluded")
    detected = None
    if lists.detected is not None:
        found = key_frames(read_boxes(lists.detected, detected=True), classes, excluded)
        detected = tuple(frame for frame in found if frame.video in footage)
    missing = tuple(dict.fromkeys(frame.video for frame in truth if frame.video not in footage))
    return DetectionSplit(lists.truth, kept, detected, footage, excluded, missing)


def _footage(
    rows: BoxRows, truth: tuple[KeyFrame, ...], root: Path, outside: bool
) -> dict[str, Footage]:  # fmt: skip
    """Of every video of the list that is there. Raises DataError where none is."""
    names = dict[str, int]()
    for frame in truth:
        names.setdefault(frame.video, frame.line)
    there = ava_footage(root) if rows.numbered else own_footage(rows, root, outside)
    found = {name: there[name] for name in names if name in there}
    lost = [name for name in names if name not in there]
    if lost and not found:
        places = f" ({', '.join(place for place, _ in PLACES)} in it)" if rows.numbered else ""
        place = f"{rows.file}:{names[lost[0]]}"
        raise DataError(f"{place}: none of its {len(lost)} videos is below {root}{places}, the first is "
                        f"{lost[0]}")  # fmt: skip
    if lost:
        log.warning("%s: %d of %d videos are not below %s, the first is %s; their key frames are left out",
                    rows.file, len(lost), len(names), root, lost[0])  # fmt: skip
    return found


def _check_apart(train: DetectionSplit, val: DetectionSplit) -> None:
    """Raises DataError for a video of training that validates."""
    own = {os.path.realpath(footage.path): name for name, footage in train.footage.items()}
    for frame in val.truth:
        if (name := own.get(os.path.realpath(val.footage[frame.video].path))) is not None:
            also = "" if name == frame.video else f" as {name}"
            raise DataError(f"{val.file}:{frame.line}: in {train.file} too{also}; validation must not be "
                            f"trained on: {frame.video}")  # fmt: skip


def _check_measured(val: DetectionSplit, evaluated: tuple[int, ...]) -> None:
    """Raises DataError where frame mAP would be the mean over no class."""
    if not any(frame.labels is not None and frame.labels[:, evaluated].any() for frame in val.truth):
        raise DataError(f"{val.file}: no box has a label that is evaluated, so there is nothing to measure")


def _fingerprint(
    train: DetectionSplit, val: DetectionSplit, classes: tuple[str, ...], evaluated: tuple[int, ...],
    least: tuple[float, float],
) -> str:  # fmt: skip
    """Of all that is used, wherever it lies. least: scores from which on detections are."""
    digest = hashlib.sha256(json.dumps([classes, evaluated, least]).encode())
    for split in (train, val):
        for frames in (split.truth, split.detected or ()):
            digest.update(json.dumps([frame.moment for frame in frames]).encode())
            digest.update(np.array([len(frame) for frame in frames], np.int64).tobytes())
            for frame in frames:
                labels = b"" if frame.labels is None else np.packbits(frame.labels).tobytes()
                digest.update(frame.boxes.tobytes() + frame.scores.tobytes() + labels)
    return digest.hexdigest()
