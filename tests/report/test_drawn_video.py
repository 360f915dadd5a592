"""Boxes and texts in pictures, of films and of figures: how large texts are, which are shown and where."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from expander.engine.detect import Shown
from expander.report.detection.detections import FOUND, TRUE, key_frames
from expander.report.detection.drawn_video import COLOUR, Labelled, by_frame, draw, fitting, tiles_of

Picture = NDArray[np.uint8]
BLUE = (0, 114, 178)
FIRST, BOTH = (10, 250, 10), (250, 10, 10)
"""Colours that stand for a text: its first line alone, or two lines."""


def tile(height: int, width: int, colour: tuple[int, int, int]) -> Picture:
    return np.full((height, width, 3), colour, np.uint8)


def drawn(*boxes: tuple[float, ...], size: tuple[int, int] = (100, 200)) -> Picture:
    """Boxes with texts of two lines of 10 pixels, 30 wide, on black."""
    picture = np.zeros((*size, 3), np.uint8)
    tiles = {"stand 90%\nwave 60%": tile(20, 30, BOTH), "stand 90%": tile(10, 25, FIRST)}
    people = [Labelled(0.0, box, "stand 90%\nwave 60%") for box in boxes]
    draw(picture, [(one.box, fitting(one, tiles, picture)) for one in people], COLOUR)
    return picture


def count(picture: Picture, colour: tuple[int, int, int]) -> int:
    return int((picture == np.array(colour)).all(2).sum())


def corner(picture: Picture, colour: tuple[int, int, int]) -> tuple[int, ...]:
    """The first row and the first column with the colour."""
    rows, columns = np.nonzero((picture == np.array(colour)).all(2))
    return int(rows.min()), int(columns.min())


@pytest.mark.parametrize(("height", "letters"), [(48, 7), (112, 7), (315, 7), (720, 16), (1080, 24)])
def test_letters_grow_with_the_picture_and_stay_readable(height: int, letters: int) -> None:
    """A line is between 1 and 1.5 times as high as its font, with its edge, and so is one more."""
    tiles = tiles_of([Labelled(0.0, (0, 0, 1, 1), "Egypt 90%\nEgypt 90%")], height)
    one, two = tiles["Egypt 90%"], tiles["Egypt 90%\nEgypt 90%"]
    assert letters <= one.shape[0] <= 1.5 * letters + 1
    assert letters <= two.shape[0] - one.shape[0] <= 1.5 * letters + 1
    assert (one[0, 0] == np.array(BLUE)).all()
    assert one.min(2).max() > 150  # letters are light


def test_a_box_has_a_frame_and_its_text_below() -> None:
    picture = drawn((0.25, 0.2, 0.5, 0.7))  # rows 20 to 70, columns 50 to 100
    assert count(picture, BLUE) == 2 * 51 + 2 * 51 - 4
    assert count(picture, BOTH) == 20 * 30
    assert corner(picture, BOTH) == (71, 50)
    assert picture[40, 51].tolist() == [0, 0, 0]


def test_a_box_smaller_than_its_text_shows_the_likeliest_action_alone() -> None:
    for box in ((0.25, 0.2, 0.39, 0.7), (0.25, 0.2, 0.5, 0.38)):  # 29 columns, or 19 rows
        picture = drawn(box)
        assert (count(picture, BOTH), count(picture, FIRST)) == (0, 10 * 25)


def test_at_the_lower_edge_a_text_stays_in_the_picture() -> None:
    picture = drawn((0.5, 0.5, 1.0, 1.0))
    assert corner(picture, BOTH) == (80, 100)
    assert count(picture, BOTH) == 20 * 30


def test_no_text_covers_another_while_there_is_room() -> None:
    """Two people side by side, and one behind them: below, above and inside."""
    for boxes in ([(0.1, 0.3, 0.25, 0.7), (0.2, 0.3, 0.38, 0.7)], [(0.3, 0.3, 0.6, 0.7)] * 4):
        assert count(drawn(*boxes), BOTH) == len(boxes) * 20 * 30


def test_a_text_larger_than_the_picture_is_cut() -> None:
    picture = drawn((0.0, 0.0, 1.0, 1.0), size=(8, 12))
    assert count(picture, FIRST) == 8 * 12


def test_key_frames_have_true_boxes_above_and_found_ones_below_where_they_are() -> None:
    """40 x 80 pixels are shown as 320 x 640: the box is in rows 80 to 240 and columns 160 to 480."""
    box, name = (0.25, 0.25, 0.75, 0.75), "a/long/name/of/a/video/in/many/folders/" * 2
    shown = Shown(f"{name}b.mp4, second 2", np.zeros((40, 80, 3), np.uint8), ((box, ""),),
                  ((box, "talk to (e.g., self, a person) 90%"),))  # fmt: skip
    figure = key_frames([shown, shown])
    assert figure is not None
    above, _, below, _ = figure.axes
    assert above.get_title().endswith("folders/b.mp4, second 2: true")
    assert len(above.get_title()) < 60
    assert below.get_title() == "found"
    for axes, colour in ((above, TRUE), (below, FOUND)):
        picture = np.asarray(axes.images[0].get_array())
        assert picture.shape == (320, 640, 3)
        drawn_rgb = tuple(bytes.fromhex(colour[1:]))
        rows, columns = np.nonzero((picture == np.array(drawn_rgb)).all(2))
        assert (rows.min(), columns.min(), columns.max()) == (80, 160, 480)
        outline = count(picture, drawn_rgb) == 2 * 2 * (321 + 161 - 2 * 2)  # two pixels thick
        assert outline == (axes is above)  # a person without labels has no text
        assert rows.max() == 240 if outline else rows.max() > 250
    assert key_frames([]) is None


def shown_at(fps: float, length: int, *seconds: float) -> list[list[float]]:
    """Of each frame the key seconds of those that it shows; one person a given second."""
    people = [Labelled(second, (0, 0, 1, 1), "") for second in seconds]
    found = by_frame(people, fps, length)
    return [[one.second for one in found.get(frame, ())] for frame in range(length)]


def test_each_frame_shows_the_people_of_its_nearest_key_second() -> None:
    """10 frames a second: 0 to 5 are nearer to 0.5 than to 0.51, 6 to 10 are at most half a second after."""
    found = shown_at(10, 50, 0.5, 0.51, 2.0, 3.5)
    assert found == 6 * [[0.5]] + 5 * [[0.51]] + 4 * [[]] + 11 * [[2.0]] + 4 * [[]] + 11 * [[3.5]] + 9 * [[]]


def test_key_seconds_that_are_near_share_the_frames_between_them() -> None:
    """Frame 10 is as far from 0.75 as from 1.25: the earlier ones stay. Their order is of no matter."""
    assert shown_at(10, 20, 1.25, 0.75, 1.25) == 3 * [[]] + 8 * [[0.75]] + 7 * [[1.25, 1.25]] + 2 * [[]]


@pytest.mark.parametrize(
    ("second", "first", "last"), [(0.1, 0, 6), (0.7, 2, 12), (1.3, 8, 18), (2.9, 24, 29)]
)
def test_a_frame_exactly_half_a_second_away_shows_a_person(second: float, first: int, last: int) -> None:
    """None of these seconds is a binary fraction. The film ends with frame 29."""
    found = shown_at(10, 30, second)
    assert [frame for frame, seconds in enumerate(found) if seconds] == list(range(first, last + 1))


def test_of_nobody_no_frame_shows_anything() -> None:
    assert by_frame([], 25, 100) == {}
