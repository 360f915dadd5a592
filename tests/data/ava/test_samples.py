"""Key frames as samples: what a network sees of a video, and what becomes of videos that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from films import film, numbers, picture
from people import made
from PIL import Image
from torch import Tensor

from expander.config.settings import DataConfig
from expander.data.ava.boxes import to_test, to_train
from expander.data.ava.folder import open_detection
from expander.data.ava.footage import ava_footage
from expander.data.ava.keyframes import DetectionData, Footage, KeyFrame
from expander.data.ava.samples import (
    People,
    Sample,
    TrainingPeople,
    boxes_of,
    by_video,
    labels_of,
    numbers_of_clips,
)
from expander.data.ava.samples import TestPeople as WholePeople  # pytest collects what is named Test*
from expander.data.clips import loader
from expander.specs.spec import Base, Spec
from expander.video.decoder import Decoder, VideoError
from expander.video.transforms import MEAN, STD

SPEC = Spec(Base(frames=4, stride=2, crop=32, stem_width=8, depths=(1,), head_width=16, classes=3))


def frame_of(video: str, second: float, boxes: Sequence[Sequence[float]]) -> KeyFrame:
    """The boxes with the first class each."""
    labels = np.zeros((len(boxes), 3), np.bool_)
    labels[:, 0] = True
    return KeyFrame(video, second, np.array(boxes, float), labels, np.ones(len(boxes)))


def coloured(clip_THWC: Tensor) -> Tensor:
    """Bytes, as floats, that a clip was made of."""
    return (clip_THWC * STD + MEAN) * 255


@pytest.fixture
def decoder() -> Iterator[Decoder]:
    with closing(Decoder()) as found:
        yield found


def test_pictures_and_films_give_the_same_frames(tmp_path: Path, decoder: Decoder) -> None:
    """Both are 64 x 96 at 30 a second, and a clip of 64 pixels shows them as they are."""
    place = tmp_path / "set" / "rawframes" / "a"
    place.mkdir(parents=True)
    for number in range(60):
        Image.fromarray(picture(number, 64, 96)).save(place / f"a_{number + 1:06d}.png")
    film(tmp_path / "set" / "videos_15min" / "b.mp4", 60, fps=30)
    footage = ava_footage(tmp_path / "set")
    assert {name: one.begins for name, one in footage.items()} == {"a": 900.0, "b": 900.0}
    assert footage["a"].fps == Fraction(30)
    frames = [frame_of(name, second, [[0, 0, 1, 1]]) for second in (900, 901, 901.5) for name in "ab"]
    clips = WholePeople(frames, footage, Spec(replace(SPEC.base, crop=64)), decoder)
    for first, key, wanted in ((0, 0, [0, 0, 0, 2]), (2, 30, [26, 28, 30, 32]), (4, 45, [41, 43, 45, 47])):
        for item in (first, first + 1):
            clip = clips[item].clip
            assert clip is not None
            assert numbers(coloured(clip).round().byte().numpy()) == wanted
            assert numbers(clips.picture(item)) == [key]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DetectionData:
    folder = made(tmp_path_factory.mktemp("people") / "set", train=6, val=3)
    return open_detection(DataConfig(folder=str(folder)))


@pytest.fixture
def training(data: DetectionData, decoder: Decoder) -> TrainingPeople:
    return TrainingPeople(to_train(data.train), data.train.footage, SPEC, decoder)


@pytest.fixture
def testing(data: DetectionData, decoder: Decoder) -> WholePeople:
    return WholePeople(to_test(data), data.val.footage, SPEC, decoder)


def test_boxes_of_a_test_are_pixels_of_the_whole_picture(testing: WholePeople) -> None:
    """Of 48 x 80 pixels the short side becomes 32, and the long one 80 * 32 // 48 = 53."""
    for number, frame in enumerate(testing.frames):
        sample = testing[number]
        assert sample.clip is not None
        assert sample.clip.shape == (4, 32, 53, 3)
        np.testing.assert_allclose(sample.boxes, frame.boxes * [53, 32, 53, 32])
        assert not sample.labels.any()


def test_people_of_a_training_lie_where_their_boxes_say(training: TrainingPeople) -> None:
    """Figures are red or green, by their labels; those that blink are white now and then."""
    looked = 0
    for item in range(40):
        sample = training[item % len(training), 7, item]
        assert sample.clip is not None
        assert sample.clip.shape == (4, 32, 32, 3)
        for box, (red, green, blinking) in zip(sample.boxes, sample.labels, strict=True):
            assert red + green == 1
            left, top, right, bottom = np.round(box).astype(int)
            if not blinking and right - left >= 3 and bottom - top >= 3:
                inner = coloured(sample.clip)[:, top + 1 : bottom - 1, left + 1 : right - 1].mean((0, 1, 2))
                assert (inner[0] > inner[1]) == bool(red)
                looked += 1
    assert looked > 20


def same(one: Sample, other: Sample) -> bool:
    assert one.clip is not None
    assert other.clip is not None
    return bool(one.clip.shape == other.clip.shape and torch.equal(one.clip, other.clip)
                and np.array_equal(one.boxes, other.boxes))  # fmt: skip


def test_the_same_item_is_the_same_sample_and_another_position_is_not(training: TrainingPeople) -> None:
    first = [training[3, 5, position] for position in range(8)]
    again = [training[3, 5, position] for position in range(8)]
    assert all(map(same, first, again))
    assert not any(same(first[0], other) for other in first[1:])
    assert not same(training[3, 6, 0], first[0])


def test_without_flip_nobody_is_mirrored(training: TrainingPeople) -> None:
    """A wide box is in every crop, so that what is drawn for each is the same but for the flip."""
    training.frames = [replace(training.frames[1], boxes=np.array([[0.2, 0, 1, 1]]),
                               labels=np.ones((1, 3), np.bool_))]  # fmt: skip
    mirrored = [training[0, 0, position] for position in range(12)]
    training.flip = False
    plain = [training[0, 0, position] for position in range(12)]
    flips = 0
    for one, other in zip(mirrored, plain, strict=True):
        assert one.clip is not None
        assert other.clip is not None
        if not torch.equal(one.clip, other.clip):
            assert torch.equal(one.clip.flip(2), other.clip)
            np.testing.assert_allclose(32 - one.boxes[:, [2, 0]], other.boxes[:, [0, 2]])
            flips += 1
    assert 0 < flips < 12


def test_a_crop_without_people_is_drawn_again_from_another_key_frame(training: TrainingPeople) -> None:
    """A box without area is in no crop."""
    nobody = replace(training.frames[0], boxes=np.array([[0.5, 0.5, 0.5, 0.5]]),
                     labels=np.ones((1, 3), np.bool_))  # fmt: skip
    training.frames = [nobody, *training.frames[1:]]
    for position in range(4):
        sample = training[0, 0, position]
        assert len(sample.boxes) >= 1
        assert sample.bad == ()
    training.frames = [nobody]
    with pytest.raises(VideoError, match=r"10 key frames in a row give no sample, the last: no crop of .* "
                                         r"holds a person"):  # fmt: skip
        training[0, 0, 0]


def unreadable(clips: People, tmp_path: Path, video: str) -> None:
    """Puts a page of text in the place of a video."""
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"<html>not found</html>")
    clips.footage = {**clips.footage, video: Footage(path)}


def test_an_unreadable_video_is_replaced_in_training_and_told(
    training: TrainingPeople, tmp_path: Path
) -> None:
    broken = training.frames[0].video
    unreadable(training, tmp_path, broken)
    others = [number for number, frame in enumerate(training.frames) if frame.video != broken]
    for position in range(4):
        sample = training[0, 0, position]
        assert sample.clip is not None
        assert sample.clip.isfinite().all()
        assert sample.bad
        assert all(message.startswith(f"{tmp_path / 'broken.mp4'}: ") for message in sample.bad)
    assert training[others[0], 0, 0].bad == ()
    training.frames = training.frames[:1]
    with pytest.raises(VideoError, match=r"^10 key frames in a row give no sample, the last: .*broken\.mp4"):
        training[0, 0, 0]


def test_an_unreadable_video_of_a_test_keeps_its_boxes_without_a_clip(
    testing: WholePeople, tmp_path: Path
) -> None:
    """In a batch its clip alone is no number, and the rows of people say whose each box is."""
    unreadable(testing, tmp_path, testing.frames[0].video)
    last = len(testing) - 1
    first, good = testing[0], testing[last]
    assert first.clip is None
    assert first.boxes.tolist() == testing.frames[0].boxes.tolist()
    assert [message.partition(":")[0] for message in first.bad] == [str(tmp_path / "broken.mp4")]
    batch = testing.collate([good, first])
    assert batch.clips.shape == (2, 3, 4, 32, 53)
    assert batch.clips[0].isfinite().all()
    assert batch.clips[1].isnan().all()
    assert batch.bad == first.bad
    people = batch.labels
    assert numbers_of_clips(people).tolist() == [0] * len(good.boxes) + [1] * len(first.boxes)
    np.testing.assert_allclose(boxes_of(people), np.concatenate([good.boxes, first.boxes]), rtol=1e-6)
    assert labels_of(people).shape == (len(people), 3)


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_do_not_depend_on_who_loads_them(training: TrainingPeople, workers: int) -> None:
    items = [(number % len(training), 9, number) for number in range(6)]
    batches = list(loader(training, items, 3, workers))
    assert len(batches) == 2
    for number, batch in enumerate(batches):
        wanted = training.collate([training[item] for item in items[3 * number : 3 * number + 3]])
        assert torch.equal(batch.clips, wanted.clips)
        assert torch.equal(batch.labels, wanted.labels)


def test_groups_are_of_one_video_and_not_too_large() -> None:
    frames = [frame_of(name, second, [[0, 0, 1, 1]]) for second, name in enumerate("aaabca")]
    assert by_video(frames, 2) == [[0, 1], [2], [3], [4], [5]]
    assert by_video(frames, 9) == [[0, 1, 2], [3], [4], [5]]
    assert by_video([], 2) == []
