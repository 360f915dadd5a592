"""One changed bit, one lost byte, one line too many: told with the place, whatever file of a run it is in."""

from __future__ import annotations

import json
import random
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from conftest import ASSETS
from searches import EXACT, RULES, formula, problem, search

from expander.config.settings import DataConfig, TrainRecipe
from expander.engine.comparisons import ComparisonTrial, tries
from expander.engine.loop import state_of
from expander.errors import DataError
from expander.report import tables
from expander.report.page import page
from expander.report.reader import history
from expander.report.results import json_lines
from expander.report.status import status_of
from expander.runs.events import Event, TrialFinished, to_json
from expander.runs.journal import Run
from expander.runs.sealed_lines import SEALED_SINCE, Chain, SealedLines, sealed_document, sealed_lines
from expander.runs.trials import make_trial
from expander.specs.cost import cost
from expander.specs.spec import Spec
from expander.training.training_folder import Best, Training, TrainingFolder

FLIPS = 2_000


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A finished run along two axes, journaled with seals."""
    run = Run(tmp_path_factory.mktemp("runs") / "whole")
    run.create()
    given = problem(target=3, selection=replace(EXACT, resamples=100))
    axes = {axis: RULES[axis] for axis in ("temporal", "width")}
    for event in search(replace(given, space=replace(given.space, axes=axes))):
        run.append(event)
    return run


@pytest.fixture
def damaged(whole: Run, tmp_path: Path) -> Run:
    """A copy to be damaged."""
    shutil.copytree(whole.folder, tmp_path / "damaged")
    return Run(tmp_path / "damaged")


def flipped(content: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """`content` with one bit changed, another at a time; every bit when there are no more than `count`."""
    bits = range(8 * len(content))
    for bit in random.Random(seed).sample(bits, min(count, len(bits))):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def test_no_flipped_bit_of_a_journal_is_read_in_silence(whole: Run, damaged: Run) -> None:
    for changed in flipped(whole.journal.read_bytes(), FLIPS):
        damaged.journal.write_bytes(changed)
        with pytest.raises(DataError, match=rf"^{damaged.journal}:\d+: "):
            damaged.events()


def test_the_line_that_is_named_is_the_damaged_one(whole: Run, damaged: Run) -> None:
    lines = whole.journal.read_bytes().splitlines(keepends=True)
    for number, line in enumerate(lines):
        for changed in flipped(line[:-1], 3, seed=number):
            damaged.journal.write_bytes(b"".join([*lines[:number], changed + b"\n", *lines[number + 1 :]]))
            with pytest.raises(DataError, match=rf"journal\.jsonl:{number + 1}: "):
                damaged.events()


def test_a_journal_cut_anywhere_is_the_run_up_to_there(whole: Run, damaged: Run) -> None:
    """A cut in a line is repaired; one between two lines is a run that was stopped there."""
    content, events = whole.journal.read_bytes(), whole.events()
    lines = [line for _, line in whole.lines.read()]
    ends = {number for number, byte in enumerate(content, 1) if byte == 10}
    for length in range(len(content)):
        damaged.journal.write_bytes(content[:length])
        count = content[:length].count(b"\n")
        assert [line for _, line in damaged.lines.read()] == lines[:count]
        if length in ends or length + 1 in ends:
            assert damaged.events() == events[:count]
            assert state_of(damaged).finished is None


@pytest.mark.parametrize("change", ["lost", "repeated", "swapped", "of another run", "without its seal"])
def test_lines_that_are_whole_but_not_where_they_were_are_told(
    whole: Run, damaged: Run, tmp_path: Path, change: str
) -> None:
    lines = whole.journal.read_bytes().splitlines(keepends=True)
    other = Run(tmp_path / "other")
    other.create()
    for event in whole.events():
        other.append(event)
    stranger = other.journal.read_bytes().splitlines(keepends=True)[3]
    bare = re.sub(rb',"seal":"[0-9a-f]*"', b"", lines[3]).replace(b'"schema": 3', b'"schema": 2')
    changed = {
        "lost": [*lines[:3], *lines[4:]], "repeated": [*lines[:4], *lines[3:]],
        "swapped": [*lines[:3], lines[4], lines[3], *lines[5:]],
        "of another run": [*lines[:3], stranger, *lines[4:]],
        "without its seal": [*lines[:3], bare, *lines[4:]],
    }[change]  # fmt: skip
    damaged.journal.write_bytes(b"".join(changed))
    with pytest.raises(DataError, match=r"journal\.jsonl:[45]: not an event as it was written"):
        damaged.events()


READERS: dict[str, Callable[[Run], object]] = {
    "history": history,
    "status": status_of,
    "resume": lambda run: run.cut_torn_line() or state_of(run),
    "tables": lambda run: [getattr(tables, name)(run) for name in ("steps", "trials", "decisions")],
    "page": lambda run: page([run.folder]),
}


@pytest.mark.parametrize("reader", READERS)
def test_whoever_reads_a_damaged_journal_says_so(whole: Run, damaged: Run, reader: str) -> None:
    for changed in flipped(whole.journal.read_bytes(), 60, seed=len(reader)):
        damaged.journal.write_bytes(changed)
        with pytest.raises(DataError, match=r"journal\.jsonl:\d+: "):
            READERS[reader](damaged)


def comparison() -> ComparisonTrial:
    spec = Spec(depth=2.0)
    result = formula(make_trial(4, "depth", spec, 0))
    assert not hasattr(result, "reason")
    return ComparisonTrial("random", "random1", 5.0, spec, cost(spec), 0, result)  # type: ignore[arg-type]


TRAINING = Training(Spec(), TrainRecipe(epochs=3, batch=8), DataConfig(), "f", ("a", "b"), videos=20,
                    best=Best(2, 10, 0.75, 1.5))  # fmt: skip
ROWS = [{"epoch": 1, "step": 5, "loss": 2.5, "lr": 0.1},
        {"epoch": 1, "step": 5, "val_loss": 1.5, "video_top1": 0.75}]  # fmt: skip
RESULT: dict[str, Any] = {
    "spec": asdict(Spec()), "protocol": "expander", "views": {"clips": 10, "crops": 3},
    "metrics": {"top1": {"value": 0.75, "low": 0.5, "high": 1.0}}, "classes": ["a", "b"],
    "per_class": [{"class": "a", "accuracy": 1.0, "n": 2}, {"class": "b", "accuracy": 0.5, "n": 2}],
    "confusion": [[0, 0, 2], [1, 1, 1], [1, 0, 1]], "n": 4, "n_failed": 0,
    "cost": {"macs_per_view": 10, "views": 30, "macs_per_video": 300},
}  # fmt: skip


def lines_of(*texts: str) -> bytes:
    chain = Chain()
    return b"".join(chain.seal(f'{{"schema": {SEALED_SINCE},{text[1:]}') for text in texts)


FILES: dict[str, tuple[bytes, Callable[[Path], object]]] = {
    "baselines.jsonl": (lines_of(to_json(comparison()), to_json(comparison())), tries),
    "metrics.jsonl": (sealed_lines(ROWS), json_lines),
    "training.json": (sealed_document(json.loads(to_json(TRAINING))),
                      lambda file: TrainingFolder(file.parent).read()),
    "tests/best.json": (sealed_document(RESULT), lambda file: tables.tests(file.parent.parent)),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_no_flipped_bit_of_a_result_is_read_in_silence(tmp_path: Path, name: str) -> None:
    content, read = FILES[name]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(content)
    read(file)
    for changed in flipped(content, FLIPS):
        file.write_bytes(changed)
        with pytest.raises(DataError, match=re.escape(str(file))):
            read(file)


@pytest.mark.parametrize("name", ["training.json", "tests/best.json"])
def test_a_result_that_is_cut_anywhere_is_told(tmp_path: Path, name: str) -> None:
    content, read = FILES[name]
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    for length in range(len(content)):
        file.write_bytes(content[:length])
        with pytest.raises(DataError, match=re.escape(str(file))):
            read(file)


def test_rows_that_are_cut_anywhere_are_the_rows_up_to_there(tmp_path: Path) -> None:
    folder = TrainingFolder(tmp_path)
    content = sealed_lines(ROWS)
    for length in range(len(content)):
        folder.metrics.write_bytes(content[:length])
        assert folder.rows() == ROWS[: content[:length].count(b"\n")]


def test_what_is_appended_to_an_old_journal_covers_all_of_it(tmp_path: Path) -> None:
    run = Run(tmp_path)
    shutil.copy(ASSETS / "journal-v2.jsonl", run.journal)
    *events, last = run.events()
    old = b"".join(run.journal.read_bytes().splitlines(keepends=True)[:-1])
    run.journal.write_bytes(old)
    assert not run.protected()
    run.append(last)
    assert run.protected()
    assert run.events() == [*events, last]
    sealed = run.journal.read_bytes()
    for changed in flipped(old, 200):
        run.journal.write_bytes(changed + sealed[len(old) :])
        with pytest.raises(DataError, match=r"journal\.jsonl:\d+: "):
            run.events()


def test_two_writers_one_after_the_other_make_one_chain(tmp_path: Path) -> None:
    first, second = (SealedLines(tmp_path / "rows", "a row") for _ in range(2))
    for number in range(6):
        (first, second)[number % 2].append(f'{{"schema": 3, "number": {number}}}')
    assert [json.loads(line)["number"] for _, line in first.read()] == list(range(6))


def result_of(events: list[Event]) -> TrialFinished:
    return next(event for event in events if isinstance(event, TrialFinished))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"accuracy": 1.5}, "accuracy 1.5, its bits say"),
        ({"accuracy": 0.5}, "accuracy 0.5, its bits say 60 of 200"),
        ({"loss": float("nan")}, "loss nan is no finite number"),
        ({"train_loss": float("inf")}, "train_loss inf is no finite number"),
        ({"seconds": -1.0}, "seconds -1.0 is no finite number"),
        ({"videos": 198, "correct": "f" * 49 + "d"}, "more bits than 198 videos"),
        ({"videos": 10**9}, "not the bits of 1000000000 videos"),
        ({"correct": "zz"}, "not the bits of 200 videos"),
        ({"data_wait": 1.5}, "data_wait 1.5 does not lie between 0 and 1"),
        ({"attempts": 0}, "attempts 0 must be at least 1"),
        ({"trial": "s00-base-seed000-00000000"}, "which was not planned"),
        ({"trial": "s00-x/../../evil-seed000-00000000"}, "is no trial"),
    ],
)
def test_a_result_that_cannot_be_is_refused_even_with_a_seal(
    whole: Run, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    events = whole.events()
    wrong = result_of(events)
    run = Run(tmp_path)
    for event in events[:2]:
        run.append(event)
    run.append(replace(wrong, result=replace(wrong.result, **change)))
    with pytest.raises(DataError, match=rf"journal\.jsonl:3: .*{re.escape(said)}"):
        run.events()
