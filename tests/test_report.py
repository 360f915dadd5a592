"""Tables and the figure from a recorded journal, whole and cut at every event."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from conftest import ASSETS

from expander.report.figures import save_trajectory
from expander.report.live import status_of, status_text
from expander.report.tables import decisions, frontier, macs_text, steps, trajectory_text, trials
from expander.store import Run


@pytest.fixture
def recorded(tmp_path: Path) -> Run:
    """The recorded journal in a run folder."""
    shutil.copy(ASSETS / "journal-v1.jsonl", tmp_path / "journal.jsonl")
    return Run(tmp_path)


def test_one_row_a_step_with_the_documented_columns(recorded: Run) -> None:
    table = steps(recorded)
    assert {"step", "axis", "cost", "ratio", "accuracy"} <= set(table.columns)
    assert table["kind"].tolist() == ["base", "expansion", "expansion", "contraction"]
    assert table["axis"].tolist()[:2] == ["base", "temporal"]
    # Every ratio is the cost over the cost of the step before it.
    assert table["ratio"][1] == pytest.approx(table["cost"][1] / table["cost"][0])


def test_losing_failed_and_rejected_candidates_are_in_the_table(recorded: Run) -> None:
    table = decisions(recorded)
    expansions = table[table["kind"] == "expansion"]
    assert (expansions.groupby("step")["chosen"].sum() == 1).all()
    failed = table[table["reason"].str.contains("nan")]
    assert failed["axis"].tolist() == ["bottleneck"]
    assert failed["accuracy"].isna().all()


def test_a_journal_cut_at_any_event_still_gives_tables_figure_and_status(recorded: Run) -> None:
    lines = recorded.journal.read_text().splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        recorded.journal.write_text("".join(lines[:count]))
        now = status_of(recorded)
        assert now["step"] >= 0
        assert now["spec"] in status_text(now)
        assert isinstance(trajectory_text(recorded), str)
        assert len(trials(recorded)) >= len(steps(recorded))
        assert len(frontier(recorded)) <= len(decisions(recorded))
        if not steps(recorded).empty:
            save_trajectory(recorded, recorded.folder / "report" / "trajectory.png")


def test_costs_read_as_people_write_them() -> None:
    assert macs_text(1_962_892_112) == "1.963 G"
    assert macs_text(605_256_512) == "605.3 M"
