"""Scores that are kept as a test goes on: read back exactly, never overwritten unless their test ended."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

from expander.errors import DataError, UsageError
from expander.evaluation.scores import KeyFrameScores, ScoreFile


def test_scores_come_back_to_the_last_bit_and_failures_are_tried_again(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    scores = np.random.default_rng(0).normal(size=(3, 7)).astype(np.float32) * 10.0 ** np.arange(-9, 5, 2)
    first = ScoreFile(file, {"data": "x"}, 5, False)
    first.begin()
    for name, row in zip("abc", scores, strict=True):
        first.add(name, 0, row.astype(np.float32))
    first.add("d", 1, "hangs")
    again = ScoreFile(file, {"data": "x"}, 5, True)
    again.begin()
    assert list(again.known) == ["a", "b", "c"]
    assert np.array_equal(np.stack(list(again.known.values())), scores.astype(np.float32))
    with pytest.raises(UsageError, match="differs in data"):
        ScoreFile(file, {"data": "y"}, 5, True)


def test_scores_of_people_come_back_to_the_last_bit_and_failures_are_tried_again(tmp_path: Path) -> None:
    file, boxes, rng = tmp_path / "s.jsonl", [2, 1, 3, 1, 2], np.random.default_rng(0)
    scores = [1 - 10.0 ** rng.uniform(-16, 0, (count, 3)) for count in boxes]
    first = KeyFrameScores(file, {"data": "x"}, boxes, 3, False)
    first.begin()
    first.add({0: scores[0], 1: scores[1]})
    first.add({2: scores[2] * np.nan, 3: scores[3]}, "hangs")
    again = KeyFrameScores(file, {"data": "x"}, boxes, 3, True)
    again.begin()
    assert list(again.known) == [0, 1]
    for number, known in again.known.items():
        np.testing.assert_array_equal(known, scores[number])
    again.add({2: scores[2], 3: scores[3]})
    assert list(KeyFrameScores(file, {"data": "x"}, boxes, 3, True).known) == [0, 1, 2, 3]
    with pytest.raises(UsageError, match="differs in data"):
        KeyFrameScores(file, {"data": "y"}, [7], 3, True)
    with pytest.raises(UsageError, match="has the scores of 4 of 5 key frames of this test, which"):
        KeyFrameScores(file, {"data": "x"}, boxes, 3, False)
    with pytest.raises(DataError, match=r"s\.jsonl:2: no scores of a test"):
        ScoreFile(file, {"data": "x"}, 5, True)


@pytest.mark.parametrize(
    ("head", "told"),
    [
        ({"data": "x"}, "scores of 2 of 4 videos of this test, which was stopped; --resume goes on; or begin "
                        "anew: delete it"),
        ({"data": "y"}, r"of another test \(it differs in data\), which was stopped; delete it"),
    ],
)  # fmt: skip
def test_scores_of_a_test_that_was_stopped_are_not_overwritten(
    tmp_path: Path, head: dict[str, str], told: str
) -> None:
    file = tmp_path / "s.jsonl"
    stopped = ScoreFile(file, {"data": "x"}, 4, False)
    stopped.begin()
    for name in "ab":
        stopped.add(name, 0, np.zeros(3, np.float32))
    stopped.add("c", 0, "hangs")
    before = file.read_bytes()
    with pytest.raises(UsageError, match=told):
        ScoreFile(file, head, 4, False)
    assert file.read_bytes() == before


def test_scores_of_a_test_that_ended_are_replaced_when_it_is_repeated(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    ended = ScoreFile(file, {"data": "x"}, 2, False)
    ended.begin()
    ended.add("a", 0, np.zeros(3, np.float32))
    ended.add("b", 0, "hangs")
    before = file.read_bytes()
    repeated = ScoreFile(file, {"data": "y"}, 7, False)
    assert repeated.known == {}
    assert file.read_bytes() == before
    repeated.begin()
    (head,) = file.read_text().splitlines()
    assert json.loads(head).items() >= {"data": "y", "videos": 7}.items()


def test_scores_with_a_flipped_bit_are_not_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    stopped = ScoreFile(file, {"data": "x"}, 4, False)
    stopped.begin()
    for name in "ab":
        stopped.add(name, 0, np.ones(3, np.float32))
    whole = file.read_bytes()
    for bit in random.Random(0).sample(range(8 * len(whole)), 300):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        file.write_bytes(changed)
        with pytest.raises(DataError, match=r"s\.jsonl:[123]: "):
            ScoreFile(file, {"data": "x"}, 4, True)
        assert file.read_bytes() == changed


def test_scores_of_earlier_versions_are_gone_on_with(tmp_path: Path) -> None:
    file = tmp_path / "s.jsonl"
    file.write_text('{"data": "x", "schema": 1, "videos": 2}\n{"label": 0, "scores": [0.5], "video": "a"}\n')
    assert list(ScoreFile(file, {"data": "x"}, 2, True).known) == ["a"]


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("content", [b"\x80\x81 no text\n", b"[1]\n", b'{"data": "x"}\n{"video": "a"}\n'])
def test_a_file_that_holds_no_scores_is_refused_and_stays(
    tmp_path: Path, content: bytes, resume: bool
) -> None:
    file = tmp_path / "s.jsonl"
    file.write_bytes(content)
    with pytest.raises(DataError, match=r"not? scores of a"):
        ScoreFile(file, {"data": "x"}, 3, resume)
    assert file.read_bytes() == content
