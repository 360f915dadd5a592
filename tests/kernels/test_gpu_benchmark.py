"""benchmarks/gpu.py in small: without a GPU its parts run on the CPU, the kernels in their interpreter."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from absent import needs_triton

pytestmark = needs_triton
BENCHMARK = Path(__file__).parent.parent.parent / "benchmarks" / "gpu.py"


def run(out: Path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict[str, dict[str, object]]]:
    """The command and its gpu.json, a result by part."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(BENCHMARK), "--small", "--out", str(out), *options],
        env={**os.environ, "PYTHONPATH": str(BENCHMARK.parent.parent)},
        capture_output=True, text=True, check=False, timeout=900,
    )  # fmt: skip
    return done, {part["part"]: part for part in json.loads((out / "gpu.json").read_text())["parts"]}


@pytest.mark.slow
def test_every_part_runs_in_small(tmp_path: Path) -> None:
    parts = "correctness", "kernels", "blocks", "training", "inference", "profile"
    done, found = run(tmp_path, "--limit", "280", "--parts", *parts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert {name: part["state"] for name, part in found.items()} == dict.fromkeys(parts, "ok")
    kernels = [row for row in found["correctness"]["rows"] if row["what"].startswith("kernels")]  # type: ignore[attr-defined]
    assert [(row["wrong"], row["bit_equal"]) for row in kernels] == [([], True)] * 3
    checks = [row for row in found["correctness"]["rows"] if row["what"].startswith("opcheck")]  # type: ignore[attr-defined]
    assert {value for row in checks for key, value in row.items() if key != "what"} == {"SUCCESS"}


@pytest.mark.slow
def test_a_part_that_takes_too_long_is_said_and_ends_no_other(tmp_path: Path) -> None:
    done, found = run(tmp_path, "--limit", "0.1", "--parts", "kernels", "inference")
    assert done.returncode == 4
    assert [part["state"] for part in found.values()] == ["stopped after 0.1 s"] * 2
