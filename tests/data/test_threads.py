"""Answers in order, and nothing begun that nobody waits for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from expander.data.threads import AHEAD, in_order


def test_the_answers_come_in_the_order_of_the_items_whichever_is_there_first() -> None:
    later = threading.Event()

    def work(item: int) -> int:
        if item == 0:
            assert later.wait(60)
        elif item == 1:
            later.set()
        return item * item

    assert list(in_order(work, range(1000), 2)) == [item * item for item in range(1000)]
    assert list(in_order(work, [], 2)) == []


def test_no_more_items_are_taken_than_wait_for_their_turn() -> None:
    taken = list[int]()

    def items() -> Iterator[int]:
        for item in range(1000):
            taken.append(item)
            yield item

    answers = in_order(str, items(), 2)
    assert next(answers) == "0"
    assert len(taken) == 2 * AHEAD


@pytest.mark.parametrize("ends", ["work", "caller"])
def test_once_it_ends_early_no_other_item_is_begun(monkeypatch: pytest.MonkeyPatch, ends: str) -> None:
    begun, free, end = list[int](), threading.Event(), ThreadPoolExecutor.shutdown

    def shutdown(pool: ThreadPoolExecutor, cancel_futures: bool = False) -> None:
        end(pool, wait=False, cancel_futures=cancel_futures)
        free.set()  # now what is under way may go on
        end(pool)

    def work(item: int) -> int:
        begun.append(item)
        if item == 0:
            if ends == "work":
                raise ValueError(item)
            return 0
        assert free.wait(60)
        return item

    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shutdown)
    answers = in_order(work, range(100), 2)
    if ends == "work":
        with pytest.raises(ValueError, match="0"):
            next(answers)
    else:
        assert next(answers) == 0
        answers.close()
    assert set(begun) <= {0, 1, 2}  # after the first its thread takes another one
