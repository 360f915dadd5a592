"""A run exported for others: small, without weights, and its report is the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
from conftest import ASSETS

from expander.report.page import page
from expander.report.tables import decisions
from expander.runs.journal import Run

ROOT = Path(__file__).parent.parent.parent


def test_an_exported_run_gives_the_same_tables_and_names_no_folder_of_this_machine(tmp_path: Path) -> None:
    source = tmp_path / "runs" / "demo"
    trial = source / "trials" / "s00-base-seed000-244341f7"
    trial.mkdir(parents=True)
    (trial / "weights.safetensors").write_bytes(b"x" * 2_000_000)
    (trial / "metrics.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "loss": 1.0}\n')
    (source / "provenance.json").write_text(f'{{"command": ["x", "search", "--data", "{tmp_path}/videos"]}}')
    shutil.copy(ASSETS / "journal-v1.jsonl", source / "journal.jsonl")
    script = [sys.executable, ROOT / "analysis" / "reference_run.py", "runs/demo"]
    done = subprocess.run(script, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "runs" / "reference"
    files = [path for path in made.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 1_000_000
    assert not [path for path in files if path.suffix == ".safetensors"]
    assert not [path for path in files if str(tmp_path) in path.read_text()]
    drop = ["run"]
    pd.testing.assert_frame_equal(
        decisions(Run(made)).drop(columns=drop), decisions(Run(source)).drop(columns=drop)
    )
    assert "Trajectory" in page([made])
    drawn = {path.name for path in (tmp_path / "docs").iterdir()}
    assert drawn == {"trajectory.png", "gains.png", "growth.png"}
    told = subprocess.run([sys.executable, ROOT / "analysis" / "readme_claims.py"], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert "base 30.0% -> 41.0% at 0.4339 M multiply-adds, 3.0 times the base's" in told.stdout


def test_the_run_in_the_repository_gives_a_page_and_is_small() -> None:
    kept = ROOT / "runs" / "reference"
    assert sum(path.stat().st_size for path in kept.rglob("*") if path.is_file()) < 1_000_000
    assert "Trajectory" in page([kept])
    assert not list(kept.rglob("*.safetensors"))
