"""Commands killed at random moments and started again: what they leave equals an undisturbed one.

`--kills 200` kills each so many times; without it a search 30 times and the others 6.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import Run, decisions
from fitting_cases import SMALL, timeless
from forking import Command
from kills import Told, killed
from saved_networks import saved

from expander.config.settings import DataConfig
from expander.config.space import dump_spec
from expander.data.sources import open_data
from expander.training.training_folder import TrainingFolder

pytestmark = pytest.mark.slow
SEED = 20261124
TRAINING = ("train.epochs=6", "train.batch=8", "train.checkpoint_minutes=0", "train.ema=0.9",
            "train.validate_every=2", "train.views=1", "train.precise_bn=2")  # fmt: skip
PASSING = ("seconds", "time", "attempts", "videos_per_second", "data_wait", "seal")
"""What depends on the clock, and the checksums over that."""
MAKE = """
import sys; from pathlib import Path; from expander.data.embedded.synthetic import SetConfig, ensure
ensure(Path(sys.argv[1]), SetConfig(train=1, val=1), workers=2)
"""
"""As `expander data make` does it: a kill may come after the set is in its place, before the process ends."""


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> Callable[[int], int]:
    """How many, unless the option says it."""
    return lambda usual: request.config.getoption("--kills") or usual


def run_of(folder: Path, name: str) -> Path:
    return folder / "runs" / name


def begun(folder: Path, name: str, file: str) -> bool:
    """Whether the first line, or all, of a file of a run is on disk."""
    path = run_of(folder, name) / file
    return path.exists() and b"\n" in path.read_bytes()


def lasting(value: Any) -> Any:
    """A value of JSON without what may differ from run to run."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in PASSING}
    return [lasting(inner) for inner in value] if isinstance(value, list) else value


def rows(path: Path) -> list[Any]:
    return [lasting(json.loads(line)) for line in path.read_text().splitlines()]


def check(told: Told, kills: int) -> None:
    assert told.kills == kills
    assert told.finished
    assert told.orphans == set()


@pytest.mark.parametrize(("inherit", "usual"), [(0, 20), (0.5, 10)], ids=["from scratch", "from the parent"])
def test_a_search(
    micro: list[str], tmp_path: Path, kills: Callable[[int], int], inherit: float, usual: int
) -> None:
    options = [*micro, "--backend=inline", "--max-steps=1", "--set=proxy.steps=6",
               f"--set=proxy.inherit={inherit}", "--set=backend.checkpoint_seconds=0"]  # fmt: skip

    def start(name: str) -> Command:
        again = ["search", "--resume"] if begun(tmp_path, name, "journal.jsonl") else options
        return Command([*again, "--run", name], tmp_path)

    told = killed(start, kills(usual), SEED)
    check(told, kills(usual))
    whole = run_of(tmp_path, "whole")
    for run in (run_of(tmp_path, name) for name in told.finished):
        assert decisions(run / "journal.jsonl") == decisions(whole / "journal.jsonl")
        ends = Counter(row["result"]["trial"] for row in rows(run / "journal.jsonl") if "result" in row)
        assert set(ends.values()) == {1}
        assert not list(run.rglob("checkpoints"))
        weights = sorted(run.glob("trials/*/weights.safetensors"))
        assert weights
        for file in weights:
            assert file.read_bytes() == (whole / file.relative_to(run)).read_bytes()


def test_a_training(micro: list[str], tmp_path: Path, kills: Callable[[int], int]) -> None:
    (tmp_path / "small.yaml").write_text(dump_spec(SMALL, "small"))
    data = micro[micro.index("--train-ann") :]
    options = ["train", "small.yaml", *data, *(f"--set={setting}" for setting in TRAINING)]

    def start(name: str) -> Command:
        again = ["train", "--resume"] if begun(tmp_path, name, "training.json") else options
        return Command([*again, "--run", name], tmp_path)

    told = killed(start, kills(6), SEED)
    check(told, kills(6))
    whole = TrainingFolder(run_of(tmp_path, "whole"))
    for name in told.finished:
        cut = TrainingFolder(run_of(tmp_path, name))
        assert timeless(cut) == timeless(whole)
        assert cut.best.read_bytes() == whole.best.read_bytes()
        assert cut.last.read_bytes() == whole.last.read_bytes()


def test_a_test(videos: Path, tmp_path: Path, kills: Callable[[int], int]) -> None:
    saved(tmp_path, open_data(DataConfig(folder=str(videos))).classes)
    options = ["test", "net.yaml", "net.safetensors", "--data", str(videos), "--views", "10"]

    def start(name: str) -> Command:
        scores = tmp_path / f"{name}.scores.jsonl"
        again = ["--resume"] if scores.exists() else []
        return Command([*options, "--out", f"{name}.json", "--dump-scores", scores.name, *again], tmp_path)

    told = killed(start, kills(6), SEED)
    check(told, kills(6))
    whole = lasting(json.loads((tmp_path / "whole.json").read_text()))
    for name in told.finished:
        assert lasting(json.loads((tmp_path / f"{name}.json").read_text())) == whole
        scores = [(tmp_path / f"{one}.scores.jsonl").read_bytes() for one in (name, "whole")]
        assert scores[0] == scores[1]


@pytest.mark.parametrize(
    ("command", "file"),
    [
        (["baseline", "NAME", "--kind", "random", "--count", "3"], "baselines.jsonl"),
        (["contract", "NAME", "--target-gflops", "0.0002", "--axis", "all", "--train"], "contractions.jsonl"),
    ],
    ids=["baseline", "contract"],
)
def test_what_is_trained_beside_a_run(
    brief: list[str], tmp_path: Path, expander: Run, kills: Callable[[int], int],
    command: list[str], file: str,
) -> None:  # fmt: skip
    """Each begins with a copy of one run, by the same name in a folder of its own."""
    done = expander(*brief, "--run", "mine", "--backend=inline", "--set=backend.checkpoint_seconds=0")
    assert done.returncode == 0, done.stderr

    def start(name: str) -> Command:
        place = tmp_path / name
        if not place.exists():
            subprocess.run(["cp", "-r", str(run_of(tmp_path, "mine")), str(place)], check=True)
        return Command([word.replace("NAME", name) for word in command], tmp_path)

    told = killed(start, kills(6), SEED)
    check(told, kills(6))
    whole = rows(tmp_path / "whole" / file)
    assert len(whole) >= 2
    for name in told.finished:
        assert rows(tmp_path / name / file) == whole


def test_the_making_of_a_data_set(tmp_path: Path, kills: Callable[[int], int]) -> None:
    def start(name: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", MAKE, name], cwd=tmp_path, start_new_session=True)

    told = killed(start, kills(6), SEED)
    check(told, kills(6))

    def files(name: str) -> dict[Path, bytes]:
        place = tmp_path / name
        return {path.relative_to(place): path.read_bytes() for path in place.rglob("*") if path.is_file()}

    whole = files("whole")
    assert len(whole) > 48
    assert [name for name in told.finished if files(name) != whole] == []
    assert {len(list((tmp_path / name).iterdir())) for name in told.finished} == {1}  # no half-made ones
