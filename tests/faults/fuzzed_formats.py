"""What is fuzzed: files, and what reads them."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from fitting_cases import SMALL
from fuzz import Format
from searches import EXACT, problem, search

from expander.cli.main import main
from expander.config.load import load_settings
from expander.config.settings import DataConfig, TrainRecipe
from expander.config.space import dump_spec, load_spec
from expander.data.format_detection import FORMATS, read_rows
from expander.data.prepared import manifest
from expander.data.prepared.manifest import Outcome, Source
from expander.engine.comparisons import ComparisonTrial
from expander.evaluation.scores import ScoreFile
from expander.model.network import X3D
from expander.runs.events import to_json
from expander.runs.journal import Run
from expander.runs.sealed_lines import SEALED_SINCE, Chain, sealed_document, sealed_lines
from expander.runs.trials import TrialFailure
from expander.specs.cost import cost
from expander.training.training_folder import Training
from expander.video.verdict_cache import Verdicts
from expander.weights.checkpoint_file import open_checkpoint
from expander.weights.safetensors_file import load_weights, save_weights

ASSETS = Path(__file__).parent.parent / "assets"
LISTS = {
    "list": b"a/one.mp4 0\na/two.mp4 0\nb/three.mp4 1\n",
    "rawframes": b"a/one 40 0\na/two 32 0\nb/three 48 1\n",
    "kinetics": b"label,youtube_id,time_start,time_end,split\nrun,abc,0,10,train\njump,def,5,15,train\n",
    "expander": b"path,label,class,split\none.mp4,0,run,train\ntwo.mp4,1,jump,train\n",
    "ssv2": b'[{"id": "1", "template": "Opening [something]"}, {"id": "2", "template": "Closing"}]',
    "ucf101": b"Run/v_Run_g01_c01.avi 1\nJump/v_Jump_g01_c01.avi 2\n",
    "hmdb51": b"one.avi 1\ntwo.avi 2\nthree.avi 0\n",
    "multilabel": b"a/one.mp4 0 2\na/two.mp4\nb/three.mp4 1\n",
    "charades": b"id,script,actions\nabc,Sits,c092 11.90 21.20;c147 0.00 12.60\ndef,Stands,\n",
    "charades_frames": b'original_vido_id video_id frame_id path labels\n'
                       b'a 0 0 a/1.jpg "3,7"\na 0 1 a/2.jpg ""\n',
}
SEVERAL = b"path,labels,classes,split\none.mp4,0;1,run;jump,train\ntwo.mp4,,,train\n"
"""What the format `expander` is for several labels."""


NAMES = {"kinetics": "train.csv", "expander": "train.csv", "ssv2": "train.json",
         "hmdb51": "run_test_split1.txt", "charades": "train.csv"}  # fmt: skip
LABELS = {
    "labels.json": b'{"Opening something": "0", "Closing": "1"}',
    "classInd.txt": b"1 Run\n2 Jump\n",
}
"""Beside the lists of two formats."""


def command(*words: str) -> Callable[[], object]:
    """The command line, as a person calls it."""

    def run() -> None:
        sys.argv = ["expander", *words]
        main()

    return run


def resealed(lines: list[bytes]) -> bytes:
    """Lines of a journal with checksums that fit. Raises ValueError for what is no object."""
    chain, sealed = Chain(), b""
    for line in lines:
        if not line.startswith(b"{") or not line.endswith(b'"}'):
            raise ValueError
        sealed += chain.seal((line.rpartition(b',"seal":')[0] + b"}").decode(errors="surrogateescape"))
    return sealed


def formats(place: Path) -> list[Format]:
    """All of them; place: a folder in which whole files are made."""
    run = Run(place / "r")
    run.create()
    for event in search(problem(target=3, selection=replace(EXACT, resamples=100))):
        run.append(event)
    name = "runs/r/journal.jsonl"
    journal = {name: run.journal.read_bytes()}
    read = [
        Format(f"journal, {' '.join(words)}", journal, name, command(*words), seal, log=True)
        for words, seal in (
            (("report", "r", "--format", "json", "--table", "decisions"), resealed),
            (("status", "r"), resealed),
            (("contract", "r", "--target-gflops", "0.0003"), resealed),
            (("search", "--run", "r", "--resume"), None),  # what is to be trained would be
        )
    ]  # fmt: skip
    read += [
        Format(f"list, {form}, {how}", {name: text, **LABELS}, name, partial(read_rows, Path(name), how))
        for form, text in LISTS.items() for how in (form, "auto")
        for name in (NAMES.get(form, "train.txt"),)
    ]  # fmt: skip
    assert set(LISTS) == set(FORMATS)
    read.append(Format("list, expander, of several labels", {"train.csv": SEVERAL}, "train.csv",
                       partial(read_rows, Path("train.csv"))))  # fmt: skip
    died = TrialFailure("s00-random-1-seed000-00000000", "died")
    trial = to_json(ComparisonTrial("random", "random-1", 1e6, SMALL, cost(SMALL), 0, failure=died))
    beside, about = "runs/r/baselines.jsonl", "runs/r/provenance.json"
    whole = {
        **journal, beside: Chain().seal(f'{{"schema": {SEALED_SINCE},{trial[1:]}'),
        about: sealed_document({"command": ["search"], "python": "3.11"}),
    }  # fmt: skip
    read += [
        Format(name, whole, name, command("report", "r", "--format", "json", "--table", table))
        for name, table in ((beside, "baselines"), (about, "steps"))
    ]
    return [*read, *_settings(), *_results(), *_prepared(), *_weights(place)]


def _prepared() -> list[Format]:
    sources, gone = [Source("a.mp4", "a.mp4", "/", 0, "train")], Outcome("a.mp4", 0, 0, "no such file")
    head = json.dumps({"encoder": 1, "short_side": 64}).encode()
    table = manifest.table_bytes(manifest.columns(sources, {"a.mp4": gone}), json.loads(head))
    return [
        Format(name, {name: content}, name, partial(_all, read, Path()))
        for name, content, read in (
            (manifest.SETTINGS, head, manifest.read_settings), (manifest.NAME, table, manifest.read_outcomes),
            (manifest.PROGRESS, 3 * gone.line().encode(), manifest.read_progress),
        )
    ]  # fmt: skip


def _all(read: Callable[[Path], object], folder: Path) -> None:
    found = read(folder)
    if isinstance(found, Iterator):
        list(found)


def _settings() -> list[Format]:
    space, spec = (ASSETS / "micro.yaml").read_bytes(), dump_spec(SMALL, "small").encode()
    return [
        Format("space", {"space.yaml": space}, "space.yaml", lambda: load_settings("space.yaml", [], {})),
        Format("spec", {"spec.yaml": spec}, "spec.yaml", lambda: load_spec("spec.yaml")),
        Format("spec, cost", {"spec.yaml": spec}, "spec.yaml", command("cost", "spec.yaml")),
    ]


def _results() -> list[Format]:
    rows = [{"video": name, "scores": [0.5, 0.5]} for name in "ab"]
    scores = sealed_lines([{"videos": 2}, *rows])
    metrics = sealed_lines([{"epoch": 1, "step": n, "loss": 2.0 / n, "lr": 0.1} for n in (1, 2, 3)])
    begun = Training(SMALL.with_classes(2), TrainRecipe(), DataConfig(), "f00d", ("a", "b"), 2)
    training = sealed_document(json.loads(to_json(begun)))
    verdicts = b"".join(b'{"key": "%d", "route": "pyav", "reason": "AV1"}\n' % n for n in range(5))
    both = {"runs/t/training.json": training, "runs/t/metrics.jsonl": metrics}
    return [
        Format("scores", {"s": scores}, "s", lambda: ScoreFile(Path("s"), {"videos": 2}, 2, True)),
        Format("training", both, "runs/t/training.json", command("report", "t")),
        Format("metrics", both, "runs/t/metrics.jsonl", command("report", "t")),
        Format("verdicts", {"v.jsonl": verdicts}, "v.jsonl", lambda: Verdicts(Path("v.jsonl"))),
    ]


def _with_header(rest: bytes) -> None:
    Path("out").write_bytes(Path("h").read_bytes() + rest)
    load_weights(Path("out"))


def _weights(place: Path) -> list[Format]:
    torch.manual_seed(0)
    network = X3D(SMALL.with_classes(2))
    save_weights(place / "w.safetensors", network, SMALL.with_classes(2), ("a", "b"))
    content = io.BytesIO()
    torch.save({"model": network.state_dict(), "epoch": 3}, content)
    ours = (place / "w.safetensors").read_bytes()
    header = 8 + int.from_bytes(ours[:8], "little")
    return [
        Format("weights", {"w": ours}, "w", lambda: load_weights(Path("w"))),
        Format("header of weights", {"h": ours[:header]}, "h", partial(_with_header, ours[header:])),
        Format("checkpoint", {"c.pth": content.getvalue()}, "c.pth", lambda: open_checkpoint(Path("c.pth"))),
    ]
