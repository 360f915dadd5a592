"""Bad input: one line that says what and where, the documented exit code, nothing lost."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ASSETS, Run
from searches import began, problem

from expander.config.settings import DataConfig, TrainRecipe
from expander.config.space import dump_spec, load_spec
from expander.runs.journal import Run as SearchRun
from expander.specs.cost import cost
from expander.training.training_folder import Training, TrainingFolder

MICRO = ["search", "--space", str(ASSETS / "micro.yaml")]


def refused(done: subprocess.CompletedProcess[str], code: int, *words: str) -> None:
    """One line on stderr with these words, and this exit code."""
    assert done.returncode == code, done.stderr
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


def test_help_names_every_exit_code_and_imports_neither_torch_nor_ray() -> None:
    code = (
        "import sys; from expander.cli.main import cli; cli(['--help'], standalone_mode=False); "
        "heavy = {'torch', 'ray', 'pandas', 'numpy', 'matplotlib', 'decord', 'av'} & set(sys.modules); "
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for number in ("0", "1", "2", "3", "4", "5", "6", "130 / 143", "141"):
        assert f"\n    {number}  " in done.stdout


@pytest.mark.parametrize("command", [["cost", "x3d_s"], ["cost", "x3d_s", "--task", "detection"],
                                     ["trace", "--axes", "width"]])  # fmt: skip
def test_costs_and_traces_start_without_torch_or_ray(command: list[str]) -> None:
    code = (
        f"import sys; from expander.cli.main import cli; cli({command!r}, standalone_mode=False); "
        "sys.exit(1 if {'torch', 'ray'} & set(sys.modules) else 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("target", ["0", "-1", "nan", "inf", "1e300"])
def test_a_target_that_is_no_positive_number_is_a_usage_error(expander: Run, target: str) -> None:
    refused(expander(*MICRO, "--target-gflops", target), 2, "--target-gflops", "positive")


@pytest.mark.parametrize("target", ["1e-6", "1e6"])
def test_a_target_outside_the_space_is_told_with_the_reachable_range(expander: Run, target: str) -> None:
    refused(expander(*MICRO, "--target-gflops", target), 5, "the space reaches", " to ")


def test_an_unknown_space_is_told_with_a_guess(expander: Run) -> None:
    refused(expander("search", "--space", "x3", "--target-gflops", "2"), 2, "'x3'", "did you mean 'x3d'?")


def test_a_yaml_error_is_told_with_line_and_column(expander: Run, tmp_path: Path) -> None:
    file = tmp_path / "space.yaml"
    file.write_text("axes:\n  width: {step: 2, limit: 3}\nproxy: {stepz: 3}\n")
    done = expander("search", "--space", file, "--target-gflops", "1")
    refused(done, 2, "space.yaml:3:9", "stepz", "did you mean 'steps'?")


def test_an_unknown_axis_is_told_with_a_guess(expander: Run, tmp_path: Path) -> None:
    refused(expander("trace", "--axes", "widht"), 2, "'widht'", "did you mean 'width'?")
    file = tmp_path / "space.yaml"
    file.write_text("axes:\n  widht: {step: 2, limit: 3}\n")
    refused(expander("search", "--space", file, "--target-gflops", "1"), 2, "space.yaml:2:3", "widht")


def test_an_unknown_setting_is_told_with_a_guess(expander: Run) -> None:
    wrong = expander(*MICRO, "--target-gflops", "0.0004", "--set", "proxy.step=3")
    refused(wrong, 2, "--set proxy.step=3", "did you mean 'steps'?")


def test_missing_data_are_told_with_the_path(expander: Run, tmp_path: Path) -> None:
    lists = ["--train-ann", "train.txt", "--val-ann", "val.txt"]
    target = ["--target-gflops", "0.0004"]
    refused(expander(*MICRO, *target, *lists), 3, "train.txt", "No such file")
    (tmp_path / "train.txt").write_text("a.mp4 0\nb.mp4\n")
    (tmp_path / "val.txt").write_text("c.mp4 0\n")
    refused(expander(*MICRO, *target, *lists), 3, "train.txt:2", "b.mp4")
    (tmp_path / "train.txt").write_text("a.mp4 0\n")
    refused(expander(*MICRO, *target, *lists), 3, "none of its videos exists", "a.mp4")
    refused(expander(*MICRO, *target, *lists, "--data-root", "none"), 3, "none", "no such folder")
    refused(expander(*MICRO, *target, *lists[:2]), 2, "train_ann and val_ann go together")
    refused(expander(*MICRO, *target, "--data-root", "none"), 2, "root needs a folder")


def test_an_existing_run_is_never_overwritten(expander: Run, micro: list[str], tmp_path: Path) -> None:
    (tmp_path / "runs" / "old").mkdir(parents=True)
    refused(expander(*micro, "--run", "old"), 2, "exists", "holds no run")
    (tmp_path / "runs" / "old" / "journal.jsonl").touch()
    refused(expander(*micro, "--run", "old"), 2, "exists", "--resume")
    (tmp_path / "runs" / "old" / "journal.jsonl").unlink()
    assert list((tmp_path / "runs" / "old").iterdir()) == []


def test_a_run_folder_that_cannot_be_written_is_an_environment_fault(
    expander: Run, micro: list[str], tmp_path: Path
) -> None:
    (tmp_path / "runs").write_text("a file where the folder should be")
    done = expander(*micro, "--run", "r")
    assert done.returncode == 6
    assert done.stderr.strip().splitlines()[-1].startswith("error: runs/r: cannot be made")


def test_resume_takes_no_other_settings_and_needs_a_run(expander: Run) -> None:
    refused(expander("search", "--resume"), 2, "--resume takes --run NAME")
    refused(expander("search", "--resume", "--run", "r", "--seed", "1"), 2, "nothing else")
    refused(expander("search", "--resume", "--run", "r", "--dry-run"), 2, "nothing else")
    refused(expander("search", "--resume", "--run", "r"), 2, "no run 'r'")


@pytest.mark.parametrize("name", ["../r", "/tmp/r", "-rf", ".", "a b", "x" * 300])
def test_a_run_never_leaves_its_folder(expander: Run, name: str) -> None:
    refused(expander(*MICRO, "--target-gflops", "0.0004", f"--run={name}"), 2, "--run")


def test_a_trial_larger_than_the_machine_is_refused_before_anything_is_made(expander: Run) -> None:
    many = expander(*MICRO, "--target-gflops", "0.0004", "--set", "backend.cpus_per_trial=100000")
    refused(many, 2, "backend.cpus_per_trial=100000", "this machine has")


def test_a_dry_run_forecasts_and_leaves_nothing_behind(expander: Run, tmp_path: Path) -> None:
    done = expander("search", "--target-gflops", "2", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert "forecast: 7 steps" in done.stdout
    assert "--space tiny" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_trace_of_the_published_path_ends_at_x3d_xs_and_contracts_to_s(expander: Run) -> None:
    path = "bottleneck,frame_rate,spatial,temporal,depth"
    xs = json.loads(expander("trace", "--space", "x3d", "--axes", path, "--json").stdout)[-1]
    assert (xs["frames"], xs["stride"], xs["crop"], xs["cost"]) == (4, 12, 160, 605_256_512)
    more = f"{path},frame_rate,temporal"
    s = json.loads(expander("trace", "--axes", more, "--contract", "2", "--json").stdout)[-1]
    assert (s["frames"], s["stride"], s["crop"], s["cost"]) == (13, 6, 160, 1_962_892_112)


def test_cost_as_json_has_the_documented_keys(expander: Run) -> None:
    found = json.loads(expander("cost", "x3d_m", "--json").stdout)
    assert {"macs", "params", "activations", "frames", "stride", "crop"} <= set(found)
    assert (found["params"], found["frames"], found["stride"], found["crop"]) == (3_794_322, 16, 5, 224)
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    assert found["params_without_norm"] == 3_762_858
    assert found["published"]["params_million"] == 3.76
    text = expander("cost", "x3d_m").stdout
    assert "3,794,322 parameters, 3,762,858 without batch norm" in text
    assert "3.76 M parameters without batch norm" in text


def test_cost_of_detection_is_that_of_a_clip_with_one_person(expander: Run) -> None:
    """The last stage keeps 10 x 10 positions, so the head's convolution sees 13 x 100 of 192 channels."""
    found = json.loads(expander("cost", "x3d_s", "--task", "detection", "--json").stdout)
    expected, two = (cost(load_spec("x3d_s"), boxes=people) for people in (1, 2))
    assert (found["task"], found["crop"], found["params"]) == ("detection", 160, expected.params)
    assert (found["macs"], found["activations"]) == (expected.macs, expected.activations)
    assert found["macs_per_person"] == two.macs - expected.macs == 432 * 2048 + 2048 * 400
    assert sum(layer["macs"] for layer in found["layers"]) == found["macs"]
    by_name = {(layer["stage"], layer["operator"]): layer["macs"] for layer in found["layers"]}
    assert by_name["head", "conv"] == 432 * 192 * 13 * 10 * 10
    assert not {"published", "test_macs", "test_size"} & set(found)  # of classification
    text = expander("cost", "x3d_s", "--task", "detection").stdout
    assert f"one clip with one person at the crop 160: {expected.macs:,} multiply-adds" in text
    assert "each further person: 1,703,936 multiply-adds" in text
    assert "published" not in text
    assert "test" not in text
    rows = dict(line.rsplit(maxsplit=4)[:2] for line in text.splitlines() if line.startswith("  head "))
    assert rows == {"  head           conv": "107,827,200", "  head            fc1": "884,736",
                    "  head            fc2": "819,200"}  # fmt: skip


def test_the_cost_of_a_run_or_a_training_is_that_of_its_task(expander: Run, tmp_path: Path) -> None:
    given = problem(target=3, task="detection")
    found = SearchRun(tmp_path / "runs/people")
    found.create()
    found.append(began(given))
    spec = given.space.start
    (found.folder / "specs/step0.yaml").write_text(dump_spec(spec, "base"))
    training = Training(spec, TrainRecipe(), DataConfig(), "f", ("a",), videos=8, task="detection")
    TrainingFolder(tmp_path / "runs/full").write(training)
    expected = cost(spec, boxes=1).macs
    assert expected != cost(spec).macs
    for name in ("people:step0", "full"):
        told = json.loads(expander("cost", name, "--json").stdout)
        assert (told["task"], told["macs"]) == ("detection", expected)
        assert "one clip with one person" in expander("cost", name).stdout
        asked = json.loads(expander("cost", name, "--task", "classification", "--json").stdout)
        assert asked["macs"] == cost(spec).macs


def test_an_unknown_spec_or_run_is_a_usage_error(expander: Run) -> None:
    refused(expander("cost", "x3d_q"), 2, "unknown spec 'x3d_q'")
    refused(expander("cost", "nothing:final"), 2, "no run 'nothing'")
    refused(expander("report", "nothing"), 2, "no run 'nothing'")
    refused(expander("status", "nothing"), 2, "no run 'nothing'")
