"""The Python API as in a notebook: from videos to a network, its tables and its predictions."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import people
import pytest
import torch
from conftest import ASSETS

import expander
from expander.engine.folders import training_folder
from expander.errors import TargetError, UsageError
from expander.runs.events import RunFinished, RunStarted, StepChosen


@pytest.fixture
def lists(videos: Path) -> dict[str, str]:
    """The lists of the small set of videos, as settings of the data."""
    return {
        "train_ann": str(videos / "train.txt"),
        "val_ann": str(videos / "val.txt"),
        "root": str(videos),
    }


@pytest.mark.parametrize("backend", ["inline", pytest.param("ray", marks=pytest.mark.slow)])
def test_a_notebook_searches_reports_loads_and_predicts(
    backend: str, lists: dict[str, str], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    heard = []
    found = expander.search(0.0004, data=lists, space=str(ASSETS / "micro.yaml"), run="r", backend=backend,
                            max_steps=1, on_event=heard.append)  # fmt: skip
    assert found.folder == Path("runs/r")
    assert [type(event) for event in heard][-1] is RunFinished
    assert not any(isinstance(event, RunStarted) for event in heard)
    chosen = [event for event in heard if isinstance(event, StepChosen)]
    assert [event.winner.spec for event in chosen] == [step.spec for step in found.path]
    assert found.spec == found.path[-1].spec

    told = expander.report("r")
    assert [int(macs) for macs in told.steps["cost"]] == [step.cost.macs for step in found.path]
    assert told.figure is not None

    network = expander.load("r")
    film = next(videos.rglob("*.mp4"))
    predictions = network.predict(film, topk=100, views=2)
    assert sum(p.probability for p in predictions) == pytest.approx(1, abs=1e-4)
    assert expander.predict("r", film, topk=100, views=2) == predictions

    with pytest.raises(UsageError, match="exists"):
        expander.search(0.0004, data=lists, space=str(ASSETS / "micro.yaml"), run="r", backend="inline")
    assert expander.resume("r").path == found.path  # nothing is left to do


@pytest.mark.parametrize("workers", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_a_notebook_trains_tests_and_predicts(
    workers: int | None, lists: dict[str, str], videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = []
    small = ["train.epochs=2", "train.batch=8", "train.precise_bn=0", "train.views=1"]
    spec = expander.trace(["temporal"], str(ASSETS / "micro.yaml"))[-1].spec
    found = expander.train(spec, data=lists, run="t", settings=small, workers=workers, on_row=rows.append)
    assert found.folder == Path("runs/t")
    assert [row["step"] for row in rows if "loss" in row] == list(range(1, 13))  # 48 videos, 2 epochs
    assert found.weights.exists()

    tested = expander.test("t", data=lists, views="2x1")
    assert (tested["n"], tested["n_failed"]) == (24, 0)
    counted = sum(count for true, guessed, count in tested["confusion"] if true == guessed)
    assert tested["metrics"]["top1"]["value"] == pytest.approx(counted / 24)
    assert Path("runs/t/tests/best-expander-2x1.json").exists()
    assert len(expander.predict("t", next(videos.rglob("*.mp4")), topk=3, views=1)) == 3
    with pytest.raises(UsageError, match="exists"):
        expander.train(spec, data=lists, run="t", settings=small)
    with pytest.raises(UsageError, match="CHECKPOINT is missing"):
        expander.test("x3d_s", data=lists)


def test_a_search_that_was_stopped_goes_on_to_the_same_end(
    lists: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    micro = {"data": lists, "space": str(ASSETS / "micro.yaml"), "backend": "inline", "max_steps": 1}
    whole = expander.search(0.0004, run="whole", **micro)

    def stopping(event: object) -> None:
        if isinstance(event, StepChosen):
            raise KeyboardInterrupt  # as the button of a notebook does

    with pytest.raises(KeyboardInterrupt):
        expander.search(0.0004, run="cut", on_event=stopping, **micro)
    assert expander.resume("cut").path == whole.path


def test_a_target_out_of_reach_is_one_exception_and_leaves_no_folder(
    lists: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TargetError):
        expander.search(1e6, data=lists, space=str(ASSETS / "micro.yaml"), backend="inline")
    with pytest.raises(UsageError, match="target_gflops must be a positive number"):
        expander.search(0)
    assert not Path("runs").exists()


@pytest.mark.parametrize(
    ("spec", "name"),
    [("RUN:final", "RUN-final"), ("a b/my spec.yaml", "my-spec"), (".net+.yaml", "net"), ("x3d_s", "x3d_s")],
)
def test_a_training_without_a_name_is_named_after_its_spec(spec: str, name: str) -> None:
    assert re.fullmatch(rf"train-{name}-\d{{8}}-\d{{6}}", training_folder(None, spec).folder.name)


def test_build_cost_and_trace_take_a_spec_or_its_name() -> None:
    network = expander.build("x3d_xs", classes=7)
    assert network.eval()(torch.zeros(1, 3, 4, 32, 32)).shape == (1, 7)
    spec = expander.trace(["bottleneck"])[-1].spec
    assert expander.cost(spec).macs == expander.trace(["bottleneck"])[-1].cost.macs
    # X3D's table 2: 0.61 G multiply-adds at 160 pixels.
    assert round(expander.cost("x3d_xs").macs / 1e9, 2) == 0.61


def test_the_functions_keep_their_names_when_the_packages_of_those_names_are_used() -> None:
    code = ("import expander, expander.search.controller, expander.report.tables; "
            "assert callable(expander.search) and callable(expander.report)")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


SCRIPT = """
import sys
import expander

print("begins")
lists, space = eval(sys.argv[1])
expander.search(0.0004, data=lists, space=space, run="s", backend="processes", max_steps=1)
expander.train("s:final", run="t", settings=["train.epochs=1", "train.batch=8", "data.workers=1"])
expander.test("t", views="10", workers=1)
print("ends")
"""


@pytest.mark.slow
def test_a_script_works_without_a_guard_of_its_main_part(lists: dict[str, str], tmp_path: Path) -> None:
    """Worker processes of all kinds: else each would run the script again."""
    (tmp_path / "script.py").write_text(SCRIPT)
    given = repr((lists, str(ASSETS / "micro.yaml")))
    done = subprocess.run(
        [sys.executable, "script.py", given], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.split() == ["begins", "ends"]


def test_importing_the_api_imports_neither_torch_nor_ray() -> None:
    code = "import sys, expander; assert not {'torch', 'ray', 'pandas', 'matplotlib'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_notebook_trains_tests_and_asks_a_network_for_detection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = people.made(tmp_path / "people")
    monkeypatch.chdir(tmp_path)
    grown = expander.search(0.0008, data, str(ASSETS / "micro.yaml"), "grown", "inline", max_steps=1,
                            settings=["axes.width.limit=1"], task="detection")  # fmt: skip
    assert grown.path[0].cost == expander.specs.cost.cost(grown.path[0].spec, boxes=1)
    trained = expander.train("grown:final", run="full", init="grown",  # for detection, as the run is
                             settings=["train.epochs=2", "train.batch=8"])  # fmt: skip
    assert trained.top1 is None
    found = expander.detect("full", workers=0)
    assert found["metrics"]["frame_map"]["value"] == pytest.approx(trained.mean_average_precision, abs=1e-6)
    boxes = tmp_path / "boxes.csv"
    boxes.write_text("second,x1,y1,x2,y2\n0.75,0,0,0.5,1\n")
    person, = expander.people("full", data / "films/val000.mp4", boxes)
    assert (person.second, person.box, len(person.actions)) == (0.75, (0, 0, 0.5, 1), 3)
    with pytest.raises(UsageError, match="detection"):
        expander.load("full")
