"""Tables from a recorded journal: golden, against the journal itself, cut at every event, and many."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from conftest import ASSETS

from expander.report import schema, tables
from expander.report.figures import save_trajectory
from expander.report.formats import csv_text
from expander.report.page import page
from expander.report.reader import history, trial_name
from expander.report.status import status_of, status_text
from expander.report.tables import decisions, frontier, macs_text, steps, trajectory_text, trials, wilson
from expander.runs.journal import Run

GOLDEN = Path(__file__).parent.parent / "golden"
COLUMNS = {"steps": schema.STEPS, "trials": schema.TRIALS, "decisions": schema.DECISIONS,
           "frontier": schema.FRONTIER}  # fmt: skip


@pytest.fixture
def recorded(tmp_path: Path) -> Run:
    """The recorded journal in a run folder."""
    folder = tmp_path / "recorded"
    folder.mkdir()
    shutil.copy(ASSETS / "journal-v1.jsonl", folder / "journal.jsonl")
    return Run(folder)


@pytest.mark.parametrize("name", COLUMNS)
def test_the_recorded_journal_gives_the_recorded_tables(recorded: Run, name: str) -> None:
    assert csv_text(getattr(tables, name)(recorded)) == (GOLDEN / f"{name}.csv").read_text()


@pytest.mark.parametrize("name", COLUMNS)
def test_every_table_has_its_documented_columns_and_types_even_when_it_is_empty(
    recorded: Run, name: str
) -> None:
    whole = getattr(tables, name)(recorded)
    recorded.journal.write_text("")
    for table in (whole, getattr(tables, name)(recorded), getattr(tables, name)()):
        assert {c: str(t) for c, t in table.dtypes.items()} == {c.name: c.dtype for c in COLUMNS[name]}
    assert len(whole) > 0


def test_tables_say_what_the_journal_says(recorded: Run) -> None:
    events = [json.loads(line) for line in recorded.journal.read_text().splitlines()]
    results = [e["result"] for e in events if e["event"] == "trial_finished"]
    table = trials(recorded).set_index("trial")
    for result in results:
        row = table.loc[result["trial"]]
        assert (row["accuracy"], row["loss"], row["videos"]) == (
            result["accuracy"], result["loss"], result["videos"])  # fmt: skip
        # The bits themselves: as many right as the accuracy says.
        assert int(result["correct"], 16).bit_count() == round(row["accuracy"] * row["videos"])
    path = [e["winner"]["axis"] for e in events if e["event"] == "step_chosen"]
    assert steps(recorded)["axis"].tolist() == path
    planned = [c["cost"]["macs"] for e in events if e["event"] == "step_planned" for c in e["candidates"]]
    assert sorted(decisions(recorded)["cost"].dropna()) == sorted(planned)


def test_the_wait_for_data_is_that_of_the_result_and_missing_where_it_was_not_measured(recorded: Run) -> None:
    lines = recorded.journal.read_text().splitlines()
    first = json.loads(lines[2])
    first["result"]["data_wait"] = 0.25
    recorded.journal.write_text("\n".join([*lines[:2], json.dumps(first), *lines[3:]]) + "\n")
    waits = trials(recorded)["data_wait"]
    assert waits[0] == 0.25
    assert waits[1:].isna().all()


def test_one_row_a_step_with_the_cost_over_the_cost_of_the_step_before(recorded: Run) -> None:
    table = steps(recorded)
    assert table["kind"].tolist() == ["base", "expansion", "expansion", "contraction"]
    assert table["axis"].tolist()[:2] == ["base", "temporal"]
    assert table["ratio"][1] == pytest.approx(table["cost"][1] / table["cost"][0])


def test_losing_failed_and_rejected_candidates_are_in_the_table(recorded: Run) -> None:
    lines = recorded.journal.read_text().splitlines()
    planned = json.loads(lines[4])
    assert planned["event"] == "step_planned"
    planned["rejected"] = [{"axis": "depth", "reason": "limit 8 of the space"}]
    planned["candidates"] = [c for c in planned["candidates"] if c["axis"] != "depth"]
    lines[4] = json.dumps(planned)
    recorded.journal.write_text("\n".join(line for line in lines if "-depth-" not in line) + "\n")
    table = decisions(recorded)
    expansions = table[table["kind"] == "expansion"]
    assert (expansions.groupby("step")["chosen"].sum() == 1).all()
    failed = table[table["reason"].str.contains("nan")]
    assert failed["axis"].tolist() == ["bottleneck"]
    assert failed["accuracy"].isna().all()
    rejected = table[(table["step"] == 1) & (table["axis"] == "depth") & table["cost"].isna()]
    assert rejected["reason"].tolist() == ["limit 8 of the space"]


def test_the_frontier_has_no_row_that_another_beats_in_both(recorded: Run) -> None:
    table, all_of_them = frontier(recorded), decisions(recorded).dropna(subset=["accuracy"])
    for row in table.itertuples():
        better = all_of_them[(all_of_them["cost"] <= row.cost) & (all_of_them["accuracy"] > row.accuracy)]
        assert better.empty
    inside = all_of_them[~all_of_them["spec_id"].isin(table["spec_id"])]
    for row in inside.itertuples():
        assert ((table["cost"] <= row.cost) & (table["accuracy"] >= row.accuracy)).any()


def test_the_frontier_of_several_runs_marks_what_none_of_them_beats(recorded: Run, tmp_path: Path) -> None:
    better = tmp_path / "better"
    better.mkdir()
    lines = recorded.journal.read_text().splitlines(keepends=True)
    base = json.loads(lines[2])["result"]["correct"]
    changed = [line.replace(base, f"{'f' * 25}{'0' * 25}").replace('"accuracy":0.3,', '"accuracy":0.5,')
               for line in lines[:4]]  # fmt: skip
    changed[3] = changed[3].replace('"score":0.3,', '"score":0.5,')
    (better / "journal.jsonl").write_text("".join(changed))
    table = frontier(recorded, Run(better))
    assert table["run"].unique().tolist() == ["recorded", "better"]
    assert not table.loc[table["run"] == "recorded", "best"].any()


@pytest.mark.parametrize("rung", [False, True])
def test_a_seed_counts_once_by_its_furthest_rung(recorded: Run, rung: bool) -> None:
    lines = recorded.journal.read_text().splitlines()
    early = json.loads(lines[2])
    early["result"] |= {"trial": "s00-base-seed000-244341f7-to0050", "accuracy": 0.1,
                        "correct": "fffff" + "0" * 45}  # fmt: skip
    added = [json.dumps(early)] if rung else []
    recorded.journal.write_text("\n".join([*lines[:2], *added, *lines[2:]]) + "\n")
    first = decisions(recorded).iloc[0]
    assert (first["seeds"], first["accuracy"]) == (1, 0.3)
    assert first["seconds"] == (3.0 if rung else 1.5)
    assert trials(recorded)["state"].tolist()[: 1 + rung] == (["rung", "finished"] if rung else ["finished"])
    assert trial_name("s00-base-seed000-244341f7-to0050").until == 50


def test_a_journal_cut_at_any_event_still_gives_tables_figure_and_status(recorded: Run) -> None:
    lines = recorded.journal.read_text().splitlines(keepends=True)
    for count in range(1, len(lines) + 1):
        recorded.journal.write_text("".join(lines[:count]))
        now = status_of(recorded)
        assert now["spec"] in status_text(now)
        assert isinstance(trajectory_text(recorded), str)
        assert len(trials(recorded)) >= len(steps(recorded))
        assert len(frontier(recorded)) <= len(decisions(recorded))
        if not steps(recorded).empty:
            save_trajectory(recorded, recorded.folder / "report" / "trajectory.png")


@pytest.mark.slow
def test_a_journal_cut_at_any_kind_of_event_still_gives_a_page(recorded: Run) -> None:
    lines = recorded.journal.read_text().splitlines(keepends=True)
    kinds = [json.loads(line)["event"] for line in lines]
    # Of each kind the last one: every table and figure has something in it, and something is open.
    for count in (0, *sorted({kind: n for n, kind in enumerate(kinds, 1)}.values())):
        recorded.journal.write_text("".join(lines[:count]) + '{"torn')
        text = page([recorded.folder])
        assert ("Not finished" in text) == (0 < count < len(lines))
        assert ("The journal is empty" in text) == (count == 0)


def test_ten_thousand_trials_are_read_once_and_all_counted(recorded: Run) -> None:
    lines = recorded.journal.read_text().splitlines()[:3]
    many = [lines[2].replace("seed000", f"seed{seed:05d}") for seed in range(10_000)]
    recorded.journal.write_text("\n".join([*lines[:2], *many]) + "\n")
    past = history(recorded)
    recorded.journal.unlink()
    assert len(trials(past)) == 10_000
    assert decisions(past)["seeds"].tolist() == [10_000]
    assert len(frontier(past)) == 1


def test_wilsons_interval_is_that_of_r() -> None:
    # R 4: prop.test(8, 10, correct = FALSE)$conf.int and prop.test(0, 10, correct = FALSE)$conf.int
    assert wilson(0.8, 10) == pytest.approx((0.4901625, 0.9433178), abs=1e-6)
    assert wilson(0.0, 10) == pytest.approx((0.0, 0.2775328), abs=1e-6)
    assert wilson(0.5, 0) == (None, None)


def test_costs_read_as_people_write_them() -> None:
    assert macs_text(1_962_892_112) == "1.963 G"
    assert macs_text(605_256_512) == "605.3 M"
