"""A store that is away for a while: waited for, told once, and nothing comes out otherwise.

`--away 60` keeps it away for a minute in the middle of a search; without it until it is missed.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run, decisions
from ray_searches import LONG, journal, searches
from store import Door, Server, serving, upload

from expander.data.store import patience
from expander.errors import EnvironmentFault


def test_a_store_may_be_away_for_minutes_but_not_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """By a clock that waiting alone moves."""
    now = 0.0

    def wait(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "sleep", wait)

    def away(seconds: float) -> Callable[[], float]:
        back = now + seconds

        def ask() -> float:
            if now < back:
                raise OSError("connection refused")
            return now - back

        return ask

    assert patience.PATIENCE >= 120
    for seconds in (60, patience.PATIENCE - 1):
        caplog.clear()
        assert 0 <= patience.patiently("s3://bucket/x", away(seconds)) <= patience.LONGEST_WAIT
        (line,) = caplog.messages
        assert line.startswith("s3://bucket/x: the store does not answer, trying again for up to 300 s: ")
    begun = now
    with pytest.raises(EnvironmentFault, match="did not answer for 300 s"):
        patience.patiently("s3://bucket/x", away(math.inf))
    assert now - begun == pytest.approx(patience.PATIENCE)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with serving(tmp_path / "log") as server:
        yield server


@pytest.mark.slow
def test_a_store_that_is_away_in_the_middle_of_a_search_changes_nothing(
    expander: Run, store: Server, brief: list[str], videos: Path, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    """Nothing is decoded beforehand: the first validation needs videos that no one has read."""
    done = expander("data", "prepare", videos, "--out", "shards", "--short-side", "64", "--shards", "1MB")
    assert done.returncode == 0, done.stderr
    address = upload(store, tmp_path / "shards", "away")
    options = [*brief[: brief.index("--train-ann")], *brief[brief.index("--max-steps") :], *LONG,
               "--backend", "inline", "--set", "data.cache_gb=0"]  # fmt: skip
    done = expander(*options, "--data", "shards", "--run", "here")
    assert done.returncode == 0, done.stderr
    with closing(Door(store)) as door, searches(tmp_path) as start:
        search = start([*options, "--data", address, "--run", "there"], door.variables)
        search.in_trial()
        door.shut()
        told = next(line for line in search.process.stderr if "the store does not answer" in line)
        assert told.startswith("WARNING: s3://bucket/away/")
        time.sleep(request.config.getoption("--away") or 0)
        assert search.process.poll() is None  # it still waits
        door.open()
        code, rest = search.end()
    assert code == 0, rest
    assert "the store does not answer" not in rest  # one outage, one line
    found = [[line for line in decisions(journal(tmp_path, run))
              if json.loads(line)["event"] in ("trial_finished", "step_chosen", "run_finished")]
             for run in ("here", "there")]  # fmt: skip
    assert found[0] == found[1]
    assert len(found[0]) > 3
