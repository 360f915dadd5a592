"""`expander train` as a user runs it: real videos, real processes killed, wrong input."""

from __future__ import annotations

import contextlib
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from conftest import Run
from fitting_cases import SMALL, timeless
from forking import Command

from expander.cli.main import main
from expander.config.space import dump_spec
from expander.runs.sealed_lines import sealed_document
from expander.training.distributed import device_for
from expander.training.training_folder import TrainingFolder

FAST = ("train.epochs=4", "train.batch=8", "train.lr=0.8", "train.precise_bn=2", "train.validate_every=2",
        "train.views=1", "backend.cpus_per_trial=1", "data.cache_gb=1")  # fmt: skip


@pytest.fixture
def small(videos: Path, tmp_path: Path) -> list[str]:
    """Options of a training that takes a second."""
    (tmp_path / "small.yaml").write_text(dump_spec(SMALL, "small"))
    data = ["--train-ann", str(videos / "train.txt"), "--val-ann", str(videos / "val.txt"),
            "--data-root", str(videos)]  # fmt: skip
    return ["train", "small.yaml", *data, *(f"--set={setting}" for setting in FAST)]


Fail = Callable[..., str]


@pytest.fixture
def fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    environment: dict[str, str],
) -> Iterator[Fail]:  # fmt: skip
    """Calls the command line in this process; returns its error line, if it ends as it must."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", environment["XDG_CACHE_HOME"])
    handler = signal.getsignal(signal.SIGTERM)

    def call(code: int, *arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["expander", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr().err
        assert ended.value.code == code, said
        (line,) = [line for line in said.splitlines() if line.startswith("error: ")]
        return line

    yield call
    signal.signal(signal.SIGTERM, handler)


def test_a_training_leaves_weights_that_predict_and_a_folder_that_tells_all(
    expander: Run, small: list[str], videos: Path, tmp_path: Path
) -> None:
    done = expander(*small, "--run", "t", "--log", "csv", "--seed", "3")
    assert done.returncode == 0, done.stderr
    folder = TrainingFolder(tmp_path / "runs" / "t")
    training = folder.read()
    assert (training.state, training.seed, training.recipe.epochs) == ("finished", 3, 4)
    assert training.command[1:3] == ("train", "small.yaml")
    assert training.versions["torch"]
    assert (folder.folder / "report" / "curves.png").read_bytes().startswith(b"\x89PNG")
    table = (folder.folder / "metrics.csv").read_text().splitlines()
    assert len(table) == 1 + len(folder.rows())
    assert "best: video_top1" in done.stdout
    assert "video_top1" in done.stderr  # a line a validation
    video = next((videos / "videos" / "val").rglob("*.mp4"))
    shown = expander("predict", video, "--weights", "t:last", "--views", "2", "--json")
    assert len(json.loads(shown.stdout)) == 5, shown.stderr


def test_a_dry_run_says_shapes_cost_memory_and_time_and_writes_nothing(
    expander: Run, small: list[str], tmp_path: Path
) -> None:
    done = expander(*small, "--run", "t", "--dry-run")
    assert done.returncode == 0, done.stderr
    for said in ("clips 8x3x2x16x16", "multiply-adds", "clips/s", "GB at the peak", "an epoch", "nothing"):
        assert said in done.stdout
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("workers", [0, 1])
def test_clips_a_second_and_seconds_an_epoch_of_a_dry_run_are_of_the_same_batch(
    expander: Run, small: list[str], workers: int
) -> None:
    """6 steps of 8 clips are 48 clips, which at r clips/s take 48 / r seconds; all numbers have 3 digits."""
    done = expander(*small, "--dry-run", f"--set=data.workers={workers}")
    assert done.returncode == 0, done.stderr
    form = r"loading (\S+) s .*, step (\S+) s, (\S+) clips/s.* an epoch (\S+) s"
    told = re.search(form, done.stdout, re.DOTALL)
    assert told is not None, done.stdout
    load, step, rate, epoch = map(float, told.groups())
    assert epoch == pytest.approx(48 / rate, rel=0.01)
    assert rate == pytest.approx(8 / (load + step if workers == 0 else max(load, step)), rel=0.01)


def test_processes_compute_where_the_options_say_on_a_machine_with_a_gpu(
    fails: Fail, small: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is none here, so torch is made to say that there is one; nothing is trained."""
    from expander.cli.train import order_of, train
    from expander.engine.train import plan

    def device(*options: str) -> str:
        parsed = train.make_context("train", [*small[1:], *options]).params
        return device_for(plan(order_of(parsed))[0].on_gpu).type

    assert "torch sees none here" in fails(6, *small, "--gpus", "1")
    assert "torch sees none here" in fails(6, *small, "--set=backend.gpus_per_trial=1")
    assert "leave one of them out" in fails(2, *small, "--workers-ddp", "2", "--set=backend.gpus_per_trial=1")
    assert device() == "cpu"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device() == "cuda"
    assert device("--gpus", "1") == "cuda"
    assert device("--workers-ddp", "1") == "cpu"
    assert device("--workers-ddp", "2") == "cpu"
    assert device("--set=backend.gpus_per_trial=0") == "cpu"


@pytest.mark.slow
def test_without_a_compiler_a_compiled_training_ends_with_one_line(
    expander: Run, small: list[str], tmp_path: Path
) -> None:
    nowhere = {"CXX": str(tmp_path / "none"), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "inductor")}
    done = expander(*small, "--run", "t", "--set=train.compile=true", **nowhere)
    assert done.returncode == 6, done.stderr
    said = r"^error: train\.compile: torch cannot compile the network: .*; install a C\+\+ compiler"
    assert re.search(said, done.stderr, re.MULTILINE), done.stderr
    assert "Traceback" not in done.stderr
    assert TrainingFolder(tmp_path / "runs" / "t").read().state == "stopped"


@pytest.mark.slow
def test_a_killed_training_resumes_to_the_same_bits(
    expander: Run, small: list[str], tmp_path: Path
) -> None:
    options = [*small, "--set=train.epochs=40", "--set=train.checkpoint_minutes=0", "--set=train.ema=0.9"]
    assert expander(*options, "--run", "whole").returncode == 0
    kill_at(60, [*options, "--run", "cut"], tmp_path)
    again = ["train", "--run", "cut", "--resume"]
    kill_at(131, again, tmp_path)
    done = expander(*again)
    assert done.returncode == 0, done.stderr
    whole, cut = (TrainingFolder(tmp_path / "runs" / name) for name in ("whole", "cut"))
    assert timeless(cut) == timeless(whole)
    assert cut.read().best == whole.read().best
    assert cut.best.read_bytes() == whole.best.read_bytes()
    assert cut.last.read_bytes() == whole.last.read_bytes()
    shown = expander(*again)
    assert shown.returncode == 0
    assert "finished" in shown.stdout


def kill_at(step: int, command: list[str], cwd: Path) -> None:
    """SIGKILL to a training as soon as it has written the row of a step."""
    with Command(command, cwd) as process:
        wait_for(step, process, cwd)
        process.kill()
        assert process.wait(60) == -signal.SIGKILL


def wait_for(step: int, process: Command, cwd: Path) -> None:
    metrics = cwd / "runs" / "cut" / "metrics.jsonl"
    while not (metrics.exists() and f'"step": {step},' in metrics.read_text()):
        with contextlib.suppress(subprocess.TimeoutExpired):
            raise AssertionError(f"it ended with {process.wait(0.05)}")


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_training_keeps_a_checkpoint_and_says_how_to_go_on(
    small: list[str], tmp_path: Path, number: int, code: int
) -> None:
    with Command([*small, "--run", "cut", "--set=train.epochs=4000"], tmp_path) as process:
        wait_for(3, process, tmp_path)
        process.send_signal(number)
        _, said = process.communicate(timeout=60)
    assert process.returncode == code, said
    assert "expander train --run cut --resume" in said
    folder = TrainingFolder(tmp_path / "runs" / "cut")
    assert folder.read().state == "stopped"
    assert list(folder.checkpoints.glob("*.pt"))


@pytest.mark.slow
def test_ctrl_c_on_a_terminal_which_reaches_the_loaders_too_stops_a_training(
    small: list[str], tmp_path: Path
) -> None:
    """Of one step an epoch, so that it comes among loaders that begin to validate."""
    options = ["--run", "cut", "--set=train.epochs=400", "--set=data.workers=2", "--set=train.batch=48"]
    with Command([*small, *options], tmp_path) as process:
        wait_for(3, process, tmp_path)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said.splitlines()[-1] == "stopped; go on with: expander train --run cut --resume"


def test_wrong_options_are_one_line_with_a_remedy(fails: Fail, small: list[str], tmp_path: Path) -> None:
    cases = {
        ("train",): "SPEC is missing",
        (*small, "--set=train.epoch=3"): "unknown key 'epoch'; did you mean 'epochs'?",
        (*small, "--set=train.dropout=2"): "dropout must be at least 0 and below 1",
        ("train", "small.yaml", "--epochs", "0"): "--epochs: TrainRecipe: epochs must be at least 1",
        (*small, "--recipe", "x3dd"): "unknown recipe 'x3dd'; did you mean 'x3d'?",
        (*small, "--gpus", "1", "--workers-ddp", "2"): "not both",
        (*small, "--workers-ddp", "3"): "cannot be shared evenly",
        (*small, "--run", "../x"): "take letters, digits",
        ("train", "--run", "none", "--resume"): "no training 'none'",
        ("train", "--run", "none", "--resume", "--seed", "1"): "nothing else",
    }
    for options, said in cases.items():
        assert said in fails(2, *options)
    assert not (tmp_path / "runs").exists()


def test_faults_of_a_training_are_one_line_with_their_exit_code(
    fails: Fail, small: list[str], tmp_path: Path
) -> None:
    assert "the loss is" in fails(4, *small, "--run", "nan", "--set=train.lr=1e30")
    ended = TrainingFolder(tmp_path / "runs" / "nan").read()
    assert (ended.state, "the loss is" in ended.reason) == ("stopped", True)
    assert "runs/nan exists; go on with --resume" in fails(2, *small, "--run", "nan")
    assert "runs/nan trains another spec" in fails(2, "train", "x2d", "--run", "nan", "--resume")
    record = tmp_path / "runs" / "nan" / "training.json"
    values = json.loads(record.read_text())
    record.write_text(json.dumps({**values, "data_fingerprint": "another"}))
    assert "training.json: not a training: its checksum does not fit" in fails(3, "train", "--run", "nan",
                                                                             "--resume")  # fmt: skip
    del values["seal"]
    record.write_bytes(sealed_document({**values, "data_fingerprint": "another"}))
    again = ("train", "--run", "nan", "--resume")
    assert "the data set has changed" in fails(3, *again)
    record.write_bytes(sealed_document({**values, "classes": ["a", "b"]}))
    assert "24 classes in the data, 2 in the training" in fails(3, *again)
    record.write_text("{}")
    assert "not a training" in fails(3, *again)
    assert "no such file" in fails(3, *small, "--init", "none.safetensors").lower()


@pytest.mark.slow
def test_too_little_memory_is_one_line_with_the_batch_to_try(
    small: list[str], tmp_path: Path, environment: dict[str, str]
) -> None:
    """A limit on the address space of the process, and clips that need more."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    command = ["train", "x3d_m", *small[2:], "--set=train.batch=8", "--run", "large"]
    process = subprocess.Popen(
        [sys.executable, "-m", "expander.cli", *command], cwd=tmp_path, text=True,
        preexec_fn=limit,  # noqa: PLW1509 (of this process alone)
        env={**environment, "OMP_NUM_THREADS": "1"}, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )  # fmt: skip
    _, said = process.communicate(timeout=300)
    assert process.returncode == 6, said
    assert "out of memory with 8 clips at a time; try --set train.accumulate=2" in said
    assert "or --batch 4" in said
    assert "Traceback" not in said
