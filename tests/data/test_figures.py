"""The people of the embedded videos: sound bodies, and actions of which a frame tells only so much."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from expander.data.embedded import figures
from expander.data.embedded.actions import ACTIONS, RUN, SPIN, TURN, WALK, Action, angles, phases
from expander.data.embedded.drawing import Limb, paint
from expander.data.embedded.figures import CLASSES, FPS, LIMBS, render
from expander.data.embedded.skeleton import (
    ANGLES,
    FOREARM,
    SHIN,
    SOLE,
    THIGH,
    UPPER_ARM,
    joints,
    mirrored,
    pose,
)  # fmt: skip
from expander.kernels.choice import VARIABLE, compiled_by_numba

NAMED = {action.name: action for action in ACTIONS}
SECONDS = np.arange(64) / FPS
REVERSED = [
    ("walk", "walk-backwards"), ("sit-down", "stand-up"), ("lie-down", "get-up"), ("pick-up", "put-down"),
]  # fmt: skip
HELD = [
    ("wave", "raise-hand"), ("push-ups", "plank"), ("squats", "crouch"), ("spin", "stand"),
    ("turn-slowly", "stand"),
]  # fmt: skip
BONES = (
    ("hip", "knee", THIGH), ("knee", "ankle", SHIN),
    ("shoulder", "elbow", UPPER_ARM), ("elbow", "wrist", FOREARM),
)  # fmt: skip


def _played(action: Action, seed: int) -> NDArray[np.floating]:
    return phases(action, SECONDS, np.random.default_rng(seed))


@given(st.lists(st.floats(-180, 180), min_size=len(ANGLES), max_size=len(ANGLES)))
def test_bones_keep_their_lengths_in_any_pose(degrees: list[float]) -> None:
    body = joints(np.array([degrees]))
    for upper, lower, length in BONES:
        for side in "lr":
            bone = body[f"{upper}_{side}"] - body[f"{lower}_{side}"]
            assert np.linalg.norm(bone) == pytest.approx(length)


def test_the_lowest_joint_is_on_the_ground_unless_the_body_is_lifted() -> None:
    poses = np.array([pose(), pose(lift=20), pose(hip=90, knee=90), pose(pitch=-90)])
    lowest = np.min([place[:, 1] for place in joints(poses).values()], axis=0)
    assert lowest == pytest.approx([SOLE, SOLE + 0.2, SOLE, SOLE])


def test_angles_turn_limbs_the_way_they_say() -> None:
    body = joints(np.array([pose(swing=90, hip=90, knee=90)]))
    assert body["wrist_r"] - body["shoulder_r"] == pytest.approx(np.array([[0, 0, UPPER_ARM + FOREARM]]))
    assert body["knee_l"] - body["hip_l"] == pytest.approx(np.array([[0, 0, THIGH]]))
    assert body["ankle_l"] - body["knee_l"] == pytest.approx(np.array([[0, -SHIN, 0]]))
    raised = joints(np.array([pose(spread_l=90, roll_l=90, elbow_l=90)]))
    assert raised["wrist_l"] - raised["elbow_l"] == pytest.approx(np.array([[0, FOREARM, 0]]))
    fallen = joints(np.array([pose(pitch=90)]))
    assert fallen["neck"][0, 2] > 0.2  # forward, where the person looks


def test_a_mirrored_pose_is_the_mirrored_body() -> None:
    one = pose(swing_r=30, spread_l=50, roll_r=20, elbow=40, hip_l=25, knee_r=60, lean=12, look=30, bend=9)
    body, other = joints(np.array([one])), joints(np.array([mirrored(one)]))
    swap = {"_l": "_r", "_r": "_l"}
    for name, place in body.items():
        twin = other[name[:-2] + swap[name[-2:]] if name[-2:] in swap else name]
        assert place * (-1, 1, 1) == pytest.approx(twin)


def test_a_pose_of_an_angle_that_no_body_has_is_refused() -> None:
    with pytest.raises(KeyError, match="ellbow"):
        pose(ellbow=3)


def test_what_is_drawn_hangs_together_in_every_action() -> None:
    for action in ACTIONS:
        body = joints(angles(action.movement, _played(action, 0)))
        drawn = [(np.stack([body[a], body[b]]), max(near, far)) for a, b, near, far, _ in LIMBS]
        for number, (limb, radius) in enumerate(drawn):
            gaps = [
                np.linalg.norm(limb[:, None] - other[None], axis=-1).min(axis=(0, 1)) - radius - its
                for other, its in drawn[:number] + drawn[number + 1 :]
            ]
            assert np.max(np.min(gaps, axis=0)) < 0, (action.name, LIMBS[number][:2])


@pytest.mark.parametrize("action", ACTIONS, ids=CLASSES)
def test_a_movement_passes_its_keys_and_does_not_jump(action: Action) -> None:
    movement, keys = action.movement, np.array(action.movement.keys)
    count = len(keys) if movement.cyclic else max(len(keys) - 1, 1)
    at_keys = angles(replace(movement, turns=0), np.arange(len(keys)) / count)
    assert at_keys == pytest.approx(keys)
    poses = angles(movement, _played(replace(action, pace=1), 1))
    whole_turns = np.arange(len(ANGLES)) == ANGLES.index("turn")
    assert np.abs(np.diff(poses[:, ~whole_turns], axis=0)).max() < 60  # degrees from frame to frame


@pytest.mark.parametrize(("name", "reverse"), REVERSED)
def test_a_reversed_action_is_the_same_movement_from_its_end(name: str, reverse: str) -> None:
    assert NAMED[name].movement is NAMED[reverse].movement
    for seed in range(5):
        there, back = _played(NAMED[name], seed), _played(NAMED[reverse], seed)
        assert np.array_equal(there, back[::-1])
        assert np.all(np.diff(there) >= 0)
        assert there[-1] - there[0] >= 1


def test_sitting_down_filmed_backwards_is_standing_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the same generator state and a camera that keeps still: the same person in the same place."""
    monkeypatch.setattr(figures, "wander", lambda _, seconds: np.zeros((len(seconds), 2)))
    for seed in range(3):
        down, up = (render(name, np.random.default_rng(seed), 64, 96, 112).astype(int)
                    for name in ("sit-down", "stand-up"))  # fmt: skip
        backwards, at_once = (np.abs(down - other).mean() for other in (up[::-1], up))
        assert at_once > 3 * backwards  # the rest is that nobody keeps quite still


@pytest.mark.parametrize(("name", "still"), HELD)
def test_a_held_action_is_one_moment_of_the_moving_one(name: str, still: str) -> None:
    assert NAMED[name].movement.keys == NAMED[still].movement.keys
    held, moving = _played(NAMED[still], 2), _played(NAMED[name], 2)
    assert np.ptp(held) == 0
    assert np.ptp(moving) > 0.4
    frames = [render(each, np.random.default_rng(7), 24, 96, 112).astype(int) for each in (name, still)]
    moved, rested = (np.abs(np.diff(video, axis=0)).mean() for video in frames)
    assert moved > rested


def test_speeds_that_tell_classes_apart_do_not_overlap() -> None:
    assert RUN.speed > 1.4 * WALK.speed
    assert max(RUN.seconds) < min(WALK.seconds)
    assert 2 * max(SPIN.seconds) < min(TURN.seconds)
    assert TURN.keys == SPIN.keys


def test_a_flip_gives_another_video_of_the_same_class() -> None:
    """People look both ways, and use both hands."""
    looks = []
    for seed in range(40):
        video = render("walk", np.random.default_rng(seed), 24, 96, 112).astype(int)
        moved = np.abs(np.diff(video, axis=0)).sum(axis=(0, 3)).sum(axis=0)
        looks.append(np.argmax(moved) > 56)
    assert 4 < sum(looks) < 36


@pytest.mark.parametrize("name", CLASSES)
def test_the_same_state_gives_the_same_frames_and_another_other_ones(name: str) -> None:
    one, again, other = (render(name, np.random.default_rng(seed), 4, 48, 56) for seed in (3, 3, 4))
    assert one.shape == (4, 48, 56, 3)
    assert one.dtype == np.uint8
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_mean_colour_of_a_frame_does_not_give_a_class_away() -> None:
    def colours(split: int, count: int) -> NDArray[np.float64]:
        frames = [
            [render(name, np.random.default_rng([split, c, i]), 1, 48, 56)[0] for i in range(count)]
            for c, name in enumerate(CLASSES)
        ]
        average: NDArray[np.float64] = np.asarray(frames).mean(axis=(2, 3), dtype=np.float64)
        return average

    means, tested = colours(0, 24).mean(axis=1), colours(1, 24)
    nearest = np.linalg.norm(tested[:, :, None] - means, axis=3).argmin(axis=2)
    accuracy = np.mean(nearest == np.arange(len(CLASSES))[:, None])
    assert accuracy < 0.14  # chance is 1/24; 576 frames: four standard deviations are 0.03


def test_a_limb_covers_the_area_of_its_capsule_and_hides_what_is_farther() -> None:
    """A capsule of length l and radius r covers 2 r l + pi r^2, also where the frame cuts nothing off."""
    video = np.zeros((2, 40, 60, 3), np.float32)
    at = np.array([[20.3, 15.2], [21.1, 17.6]])
    far = Limb(at, at + (12, 9), (4, 4), np.zeros(2), np.array([0, 200, 0]))
    paint(video, [Limb(at, at, (30, 30), np.full(2, -1.0), np.full(3, 0.0)), far])
    area = 2 * 4 * 15 + math.pi * 16
    at_half = 0.5 * 0.62 * 200  # the edge is darker
    assert (video[..., 1] > at_half).sum(axis=(1, 2)) == pytest.approx([area, area], rel=0.04)
    near = Limb(at + (6, 4.5), at + (6, 4.5), (3, 3), np.ones(2), np.array([255, 0, 0]))
    paint(video, [near, far])
    assert video[0, 20, 26, 0] > 200
    assert video[0, 20, 26, 1] == 0


def test_a_limb_outside_of_the_frame_is_not_seen() -> None:
    video = np.full((1, 20, 30, 3), 9, np.float32)
    outside = np.array([[-30.0, 50.0]])
    paint(video, [Limb(outside, outside, (6, 6), np.zeros(1), np.full(3, 250.0))])
    assert np.all(video == 9)


@pytest.mark.skipif(compiled_by_numba("frames.limbs_numba") is None, reason="needs numba")
@pytest.mark.parametrize("name", CLASSES)
def test_a_machine_without_numba_draws_the_same_bytes(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn = render(name, np.random.default_rng(7), 20, 96, 112)
    monkeypatch.setenv(VARIABLE, "reference")
    assert np.array_equal(render(name, np.random.default_rng(7), 20, 96, 112), drawn)
