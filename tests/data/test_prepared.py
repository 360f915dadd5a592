"""A prepared data set: the same lists, nothing dropped, nothing done twice, one clear line for a fault."""

from __future__ import annotations

import csv
import hashlib
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Run
from films import film, trimmed
from forking import run

import expander
from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.prepared import manifest
from expander.data.sources import open_data, source_limits
from expander.engine.prepare import SAMPLES
from expander.runs.events import SourceLimits
from expander.runs.ownership import Lock

OPTIONS = ("--short-side", "48", "--workers", "2")
Prepare = Callable[..., "subprocess.CompletedProcess[str]"]


def films(root: Path, each: int = 3) -> Path:
    """Two classes, numbered films; one validation video in a class."""
    for label in ("run fast", "wave"):
        for number in range(each):
            split = "train" if number else "val"
            film(root / split / label / f"{number}.mp4", 12 + number, size=(96, 128))
    return root


def opened(root: Path) -> VideoData:
    return open_data(DataConfig(folder=str(root)))


def contents(root: Path) -> dict[str, str]:
    """SHA-256 of every file of a set; its lock names a process."""
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*")) if path.is_file() and path.name != ".lock"}  # fmt: skip


def last(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture
def prepare(expander: Run, tmp_path: Path) -> Prepare:
    """`expander data prepare` of films/ into out/."""
    films(tmp_path / "films")
    return lambda *more, out="out": expander("data", "prepare", "films", "--out", out, *OPTIONS, *more)


def test_a_prepared_set_is_the_same_data_set_in_small(prepare: Prepare, tmp_path: Path) -> None:
    done = prepare()
    assert done.returncode == 0, done.stderr
    original, found = opened(tmp_path / "films"), opened(tmp_path / "out")
    assert found.classes == original.classes == ("run fast", "wave")
    for before, after in ((original.train, found.train), (original.val, found.val)):
        assert after.labels == before.labels
        assert len(set(after.paths)) == len(before.paths)
    shutil.rmtree(tmp_path / "out" / "videos")  # the manifest tells the sizes
    assert source_limits(found, DataConfig(folder=str(tmp_path / "out"))) == SourceLimits(13, 48)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        ".lock", "classes.txt", "damaged.csv", "manifest.parquet", "prepare.json", "train.txt", "val.txt",
    ]  # fmt: skip


def test_the_manifest_says_what_every_file_is(prepare: Prepare, tmp_path: Path) -> None:
    prepare()
    rows = manifest.read(tmp_path / "out").to_dict("records")
    assert [row["source"] for row in rows] == [
        *(f"train/{label}/{number}.mp4" for label in ("run fast", "wave") for number in (1, 2)),
        *(f"val/{label}/0.mp4" for label in ("run fast", "wave")),
    ]
    for row in rows:
        content = (tmp_path / "out" / row["path"]).read_bytes()
        assert (row["bytes"], row["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
        source = (tmp_path / "films" / row["source"]).read_bytes()
        assert row["source_bytes"] == len(source)
        assert row["source_sha256"] == hashlib.sha256(source).hexdigest()
        assert (row["height"], row["width"], row["fps"]) == (48, 64, "25")
        assert row["frames"] == 12 + int(row["source"][-5])
    head = manifest.read_head(tmp_path / "out")
    assert head is not None
    assert (head["short_side"], len(head["fingerprint"])) == (48, 64)


def test_damaged_sources_are_told_with_reasons_and_stay_listed(prepare: Prepare, tmp_path: Path) -> None:
    place = tmp_path / "films" / "train" / "wave"
    (place / "empty.mp4").write_bytes(b"")
    (place / "text.mp4").write_text("<html>")
    done = prepare()
    assert done.returncode == 4
    told = "2 could not be prepared, the first is train/wave/empty.mp4: the file is empty"
    assert last(done).startswith(told)
    with (tmp_path / "out" / "damaged.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["source"], row["split"]) for row in rows] == [
        ("train/wave/empty.mp4", "train"), ("train/wave/text.mp4", "train")]  # fmt: skip
    assert rows[0]["reason"] == "the file is empty"
    assert "cannot be opened" in rows[1]["reason"]
    assert opened(tmp_path / "out").train.labels == opened(tmp_path / "films").train.labels
    film(place / "empty.mp4", 12, size=(96, 128))
    film(place / "text.mp4", 12, size=(96, 128))
    assert prepare().returncode == 0  # mended, they are prepared
    assert len((tmp_path / "out" / "damaged.csv").read_text().splitlines()) == 1


def test_the_same_again_does_nothing(prepare: Prepare, tmp_path: Path) -> None:
    prepare()
    before = contents(tmp_path / "out")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("out/videos/*/*")}
    done = prepare()
    assert done.returncode == 0
    assert "0 of 6 videos are left" in done.stdout
    assert contents(tmp_path / "out") == before
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("out/videos/*/*")} == times
    assert prepare("--workers", "1", out="other").returncode == 0
    assert contents(tmp_path / "other") == before


def test_only_what_has_changed_is_prepared_anew(prepare: Prepare, tmp_path: Path) -> None:
    prepare()
    wave = tmp_path / "films" / "train" / "wave"
    os.utime(wave / "1.mp4", (1, 1))
    film(wave / "2.mp4", 30, size=(96, 128))
    film(wave / "more.mp4", 12, size=(96, 128))
    done = prepare()
    assert "0 of 7 videos are left" in done.stdout  # both were among the first, by which the disk is judged
    frames = dict(manifest.read(tmp_path / "out")[["source", "frames"]].to_numpy().tolist())
    assert (frames["train/wave/1.mp4"], frames["train/wave/2.mp4"], len(frames)) == (13, 30, 7)
    assert prepare(out="fresh").returncode == 0
    assert contents(tmp_path / "fresh") == contents(tmp_path / "out")


def test_a_damaged_file_is_found_by_its_checksum_and_made_again(prepare: Prepare, tmp_path: Path) -> None:
    prepare()
    before = contents(tmp_path / "out")
    first, second = sorted((tmp_path / "out" / "videos").glob("*/*.mp4"))[:2]
    with first.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\xff" if file.read(1) != b"\xff" else b"\0")
    second.unlink()
    assert contents(tmp_path / "out") != before
    assert prepare("--verify").returncode == 0
    assert contents(tmp_path / "out") == before


def test_originals_may_be_deleted(tmp_path: Path) -> None:
    films(tmp_path / "films")
    classes = enumerate(("run fast", "wave"))
    rows = [f"{name}/{video}.mp4 {number}\n" for number, name in classes for video in (1, 2)]
    (tmp_path / "train.txt").write_text("".join(f"train/{row}" for row in rows))
    (tmp_path / "val.txt").write_text("val/run fast/0.mp4 0\nval/wave/0.mp4 1\n")
    lists = ["data", "prepare", "--train-ann", "train.txt", "--val-ann", "val.txt", "--data-root", "films"]
    expander = [*lists, "--out", "out", *OPTIONS]
    assert run(expander, tmp_path).returncode == 0
    before = contents(tmp_path / "out")
    (tmp_path / "films" / "val" / "wave" / "0.mp4").unlink()
    shutil.rmtree(tmp_path / "films" / "train" / "run fast")
    assert run(expander, tmp_path).returncode == 0
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        (("--crf", "30"), "its videos were prepared with crf 21; name another folder, or the same settings"),
        (("--short-side", "32"), "its videos were prepared with short_side 48; name another folder"),
        (("--short-side", "33"), "--short-side 33: an even number of pixels, 16 at least"),
    ],
)
def test_other_settings_need_another_folder(prepare: Prepare, setting: tuple[str, ...], line: str) -> None:
    assert prepare().returncode == 0
    done = prepare(*setting)
    assert done.returncode == 2
    assert line in last(done)


def test_a_folder_of_something_else_is_left_alone(prepare: Prepare, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("x")
    (tmp_path / "file").write_text("x")
    for out, line in (("full", "is not empty and holds no prepared videos; name another folder"),
                      ("file", "it is a file; name a folder"),
                      ("films/train/out", "lies in the data; name a folder beside them"),
                      ("films", "lies in the data; name a folder beside them")):  # fmt: skip
        done = prepare(out=out)
        assert done.returncode == 2
        assert line in last(done)
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["thesis.tex"]


def test_a_dry_run_tells_what_it_takes_and_writes_nothing(prepare: Prepare, tmp_path: Path) -> None:
    done = prepare("--dry-run")
    assert done.returncode == 0, done.stderr
    assert "6 of 6 videos are left: about 0.00 GB" in done.stdout
    assert not (tmp_path / "out").exists()


def test_the_short_side_is_the_largest_that_a_space_uses(expander: Run, tmp_path: Path) -> None:
    films(tmp_path / "films")
    done = expander("data", "prepare", "films", "--out", "tiny", "--space", "tiny", "--dry-run")
    assert "short side 102: crops up to 72" in done.stdout  # 24 x 3, and 10 / 7 of it in training
    done = expander("data", "prepare", "films", "--out", "x3d", "--dry-run")
    assert "short side 640: crops up to 448" in done.stdout


def test_a_disk_that_is_too_small_is_told_before_it_is_full(prepare: Prepare, tmp_path: Path) -> None:
    for number in range(40):
        shutil.copy(tmp_path / "films/train/wave/1.mp4", tmp_path / f"films/train/wave/{number + 10}.mp4")
    names = [*opened(tmp_path / "films").train.paths, *opened(tmp_path / "films").val.paths]
    tried = random.Random(0).sample(range(len(names)), SAMPLES)
    large = next(path for number, path in enumerate(names) if number not in tried)
    with large.open("r+b") as file:
        file.truncate(10**13)  # a hole: it takes no room
    done = prepare()
    assert done.returncode == 6
    assert "more are needed, and" in last(done)
    assert "make room" in last(done)
    large.unlink()
    assert prepare().returncode == 0


def test_a_target_that_cannot_be_written_is_one_line(prepare: Prepare) -> None:
    done = prepare(out="/proc/out")
    assert done.returncode == 6
    assert done.stderr.count("error: ") == 1
    assert "/proc/out: cannot be made: No such file or directory" in last(done)


def test_a_folder_that_another_process_works_on_is_refused(prepare: Prepare, tmp_path: Path) -> None:
    assert prepare().returncode == 0
    with Lock(tmp_path / "out" / ".lock"):
        done = prepare()
    assert done.returncode == 6
    assert f"in use by process {os.getpid()}" in last(done)


def test_python_prepares_too_and_says_what_was_damaged(tmp_path: Path, cache: Path) -> None:
    assert cache.exists()
    (films(tmp_path / "films") / "train" / "wave" / "empty.mp4").write_bytes(b"")
    told: list[tuple[int, int]] = []
    made = expander.prepare(tmp_path / "films", tmp_path / "out", short_side=48, processes=1,
                            progress=lambda *done: told.append(done))  # fmt: skip
    assert told == [(number, 7) for number in range(8)]
    assert made.damaged == {"train/wave/empty.mp4": "the file is empty"}
    assert (made.videos, made.bytes) == (7, sum(p.stat().st_size for p in tmp_path.rglob("out/**/*.mp4")))


def test_a_full_disk_loses_nothing(prepare: Prepare, tmp_path: Path, environment: dict[str, str]) -> None:
    prepare(out="whole")
    film(tmp_path / "films" / "train" / "wave" / "long.mp4", 900, size=(96, 128))
    words = ["data", "prepare", "films", "--out", "out", *OPTIONS]
    command = f"ulimit -f 30; exec {sys.executable} -m expander.cli {' '.join(words)}"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 6, done.stderr
    assert done.stderr.count("error: ") == 1
    told = "cannot be written: File too large; what is prepared is kept, the same command goes on"
    assert told in last(done)
    assert not list((tmp_path / "out").rglob(".*draft"))
    (tmp_path / "films" / "train" / "wave" / "long.mp4").unlink()
    assert prepare().returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")


def test_a_source_that_hides_frames_and_odd_names_are_prepared(prepare: Prepare, tmp_path: Path) -> None:
    source = tmp_path / "films" / "train" / "wave" / "1.mp4"
    trimmed(film(tmp_path / "long.mp4", 60, size=(96, 128), options={"g": "12"}), source, 17)
    source.rename(source.with_name(" ;'\"$(x) ü 7.mp4"))
    assert prepare().returncode == 0
    found = opened(tmp_path / "out")
    assert all(path.exists() for path in (*found.train.paths, *found.val.paths))
