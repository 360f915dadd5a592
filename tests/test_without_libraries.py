"""Without Ray and numba: what does without them works, what needs them says so in one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from absent import without
from conftest import Run

import expander as expander_package
from expander.kernels import depthwise

REMEDY = "pip install 'ray[tune]'"
STEP = """
import json
import torch
from expander.kernels.depthwise import compiles
from expander.model.network import X3D
from expander.specs.spec import Base, Spec

torch.set_num_threads(1)
torch.manual_seed(0)
net = X3D(Spec(base=Base(frames=3, crop=24, depths=(1, 2), classes=5)))
logits = net(torch.randn(2, 3, 3, 24, 24))
logits.square().sum().backward()
sums = [p.grad.double().square().sum().item() for p in net.parameters()]
print(json.dumps({"compiled": compiles(), "logits": logits.flatten().tolist(), "gradients": sums}))
"""


@pytest.mark.parametrize(
    "call", [["cost", "x3d_s"], ["trace", "--axes", "width"], ["--help"], ["search", "--help"]], ids=" ".join
)
def test_what_trains_nothing_needs_neither_ray_nor_numba_nor_decord(
    expander: Run, tmp_path: Path, call: list[str]
) -> None:
    done = expander(*call, **without(tmp_path / "absent", "ray", "numba", "llvmlite", "decord"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


def test_the_package_is_imported_without_them(tmp_path: Path, environment: dict[str, str]) -> None:
    code = "import expander; print(*(getattr(expander, name).__name__ for name in expander.__all__))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path,
        env={**environment, **without(tmp_path / "absent", "ray", "numba", "llvmlite", "decord")},
    )  # fmt: skip
    assert done.stdout.split() == expander_package.__all__, done.stderr


@pytest.mark.slow
def test_a_search_in_the_same_process_finds_a_network_without_them(
    expander: Run, tmp_path: Path, micro: list[str]
) -> None:
    missing = without(tmp_path / "absent", "ray", "numba", "llvmlite", "decord")
    done = expander(*micro, "--run", "a", "--backend", "inline", **missing)
    assert done.returncode == 0, done.stderr
    last = json.loads((tmp_path / "runs" / "a" / "journal.jsonl").read_text().splitlines()[-1])
    assert last["outcome"] == "target"
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "call",
    [["search", "--space", "tiny", "--target-gflops", "0.0011"],
     ["search", "--target-gflops", "1", "--dry-run"],
     ["train", "x3d_s", "--workers-ddp", "2", "--recipe", "tiny"]],
    ids=["search", "dry run", "several processes"],
)  # fmt: skip
def test_what_needs_ray_says_how_to_install_it_before_it_begins(
    expander: Run, tmp_path: Path, call: list[str]
) -> None:
    done = expander(*call, "--set", "backend.cpus_per_trial=1", **without(tmp_path / "absent", "ray"))
    assert done.returncode == 6
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: Ray is not installed: ")
    assert REMEDY in line
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_a_run_that_began_with_ray_says_it_when_it_goes_on(
    expander: Run, tmp_path: Path, micro: list[str]
) -> None:
    stopped = expander(*micro, "--run", "a", "--backend", "inline", "--max-trials", "1")
    assert stopped.returncode == 5, stopped.stderr
    before = (tmp_path / "runs" / "a" / "journal.jsonl").read_text()
    missing = without(tmp_path / "absent", "ray")
    done = expander("search", "--run", "a", "--resume", "--backend", "ray", **missing)
    assert done.returncode == 6, done.stderr
    assert [REMEDY in line for line in done.stderr.splitlines() if line.startswith("error: ")] == [True]
    assert (tmp_path / "runs" / "a" / "journal.jsonl").read_text().startswith(before)


def step(environment: dict[str, str]) -> tuple[dict[str, list[float]], str]:
    """Logits and gradients of a network in a process of this environment, and what it wrote beside them."""
    call = [sys.executable, "-c", STEP]
    done = subprocess.run(call, capture_output=True, text=True, check=True, env=environment)
    return json.loads(done.stdout), done.stderr


def test_without_numba_the_library_computes_the_same(tmp_path: Path, environment: dict[str, str]) -> None:
    here, _ = step(environment)
    found, said = step({**environment, **without(tmp_path / "absent", "numba", "llvmlite")})
    assert not found["compiled"]
    assert found["logits"] == pytest.approx(here["logits"], rel=1e-4, abs=1e-5)
    assert found["gradients"] == pytest.approx(here["gradients"], rel=1e-3, abs=1e-8)
    if here["compiled"]:
        assert said.count("pip install numba") == 1


def test_another_processor_gets_the_library_without_a_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    depthwise.compiles.cache_clear()
    monkeypatch.setattr(depthwise.platform, "machine", lambda: "aarch64")
    assert not depthwise.compiles()
    assert not caplog.records
    depthwise.compiles.cache_clear()
