"""Prepared videos in shards: webdataset reads them, a kill costs nothing, the same videos, the same bytes."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tarfile
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import webdataset
from conftest import Run, decisions
from films import film
from forking import START
from test_prepared import contents, films, last, opened

import expander
from expander.config.settings import DataConfig
from expander.data.prepared import manifest, packing
from expander.data.sources import open_data, source_limits
from expander.engine.prepare import Prepared
from expander.video.tar_members import open_video, span_of

SIZE = 6000
"""Bytes of a shard: two or three of these videos."""


def prepare(root: Path, out: str = "out", size: int | None = SIZE) -> Prepared:
    return expander.prepare(root / "films", root / out, short_side=48, processes=1, shard_bytes=size)


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Ten films prepared in shards, and beside them as files."""
    films(tmp_path / "films", each=5)
    prepare(tmp_path)
    prepare(tmp_path, "files", None)
    return tmp_path


def test_shards_hold_the_same_videos_in_the_same_order_as_files(made: Path) -> None:
    shards, files = opened(made / "out"), opened(made / "files")
    assert sorted(path.name for path in (made / "out").iterdir()) == [
        ".lock", "classes.txt", "damaged.csv", "manifest.parquet", "prepare.json", "train-000000.tar",
        "train-000001.tar", "train-000002.tar", "train-000003.tar", "train.txt", "val-000000.tar", "val.txt",
    ]  # fmt: skip
    assert shards.classes == files.classes
    for ours, theirs in ((shards.train, files.train), (shards.val, files.val)):
        assert ours.labels == theirs.labels
        for path, file in zip(ours.paths, theirs.paths, strict=True):
            with open_video(path) as video:
                assert video.read() == file.read_bytes()
    limits = [source_limits(data, DataConfig(folder=str(made / name)))
              for name, data in (("out", shards), ("files", files))]  # fmt: skip
    assert limits[0] == limits[1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its tars open
def test_webdataset_reads_them_and_the_manifest_agrees(made: Path) -> None:
    rows = {row["source"]: row for row in manifest.read(made / "out").to_dict("records")}
    order = []
    for split, number in (("train", 3), ("val", 0)):
        urls = str(made / "out" / f"{split}-{{000000..{number:06}}}.tar")
        for sample in webdataset.WebDataset(urls, shardshuffle=False, empty_check=False):
            told = json.loads(sample["json"])
            row = rows[told["source"]]
            assert {name: row[name] for name in told} == told
            assert (int(sample["cls"]), len(sample["mp4"])) == (row["label"], row["bytes"])
            span = span_of(row["path"])
            assert span is not None
            assert span.name == f"{sample['__key__']}.mp4"
            order.append(told["source"])
    assert order == list(rows)


def test_members_are_plain_and_say_nothing_of_who_made_them_when(made: Path) -> None:
    for tar in (made / "out").glob("*.tar"):
        with tarfile.open(tar) as members:
            infos = members.getmembers()
        assert {(one.mtime, one.uid, one.gid, one.uname, one.mode, one.type) for one in infos} == {
            (0, 0, 0, "", 0o644, tarfile.REGTYPE)}  # fmt: skip
        assert [one.name.partition(".")[2] for one in infos] == ["cls", "json", "mp4"] * (len(infos) // 3)
        assert all(len(one.name) <= 100 for one in infos)


def test_a_pattern_of_our_shards_is_their_folder(made: Path) -> None:
    lists = DataConfig(train_ann=str(made / "out" / "train-{000000..000003}.tar"),
                       val_ann=str(made / "out" / "val-000000.tar"))  # fmt: skip
    assert open_data(lists) == replace(opened(made / "out"), form="shards")


def test_the_same_again_changes_nothing(made: Path) -> None:
    before = contents(made / "out")
    times = {path: path.stat().st_mtime_ns for path in made.glob("out/*.tar")}
    prepare(made)
    assert contents(made / "out") == before
    assert {path: path.stat().st_mtime_ns for path in made.glob("out/*.tar")} == times


@pytest.mark.parametrize("change", ["more", "another", "damaged", "gone from the list", "a label"])
def test_what_has_changed_is_packed_anew_as_if_it_had_always_been_so(made: Path, change: str) -> None:
    wave = made / "films" / "train" / "wave"
    if change == "more":
        film(wave / "0.mp4", 40, size=(96, 128))
    elif change == "another":
        film(wave / "2.mp4", 30, size=(96, 128))
    elif change == "damaged":
        (wave / "2.mp4").write_bytes(b"no video")
    elif change == "a label":
        (wave / "2.mp4").rename(made / "films" / "train" / "run fast" / "x.mp4")
    else:
        (wave / "2.mp4").unlink()
    first = (made / "out" / "train-000000.tar").stat().st_mtime_ns
    prepare(made)
    prepare(made, "fresh")
    assert contents(made / "out") == contents(made / "fresh")
    assert (made / "out" / "train-000000.tar").stat().st_mtime_ns == first  # what is as planned stays


@pytest.mark.parametrize("harm", ["rotten", "cut", "lost"])
def test_a_shard_that_is_damaged_is_made_again(made: Path, expander: Run, harm: str) -> None:
    before, tar = contents(made / "out"), made / "out" / "train-000001.tar"
    if harm == "lost":
        tar.unlink()
    elif harm == "cut":
        os.truncate(tar, 3000)
    else:
        with tar.open("r+b") as file:  # within a video: its checksum alone knows
            file.seek(3000)
            file.write(b"????")
    assert contents(made / "out") != before
    words = ("data", "prepare", "films", "--out", "out", "--short-side", "48", "--verify")
    settings = json.loads((made / "out" / "prepare.json").read_text())
    assert settings["shard_bytes"] == SIZE
    (made / "out" / "prepare.json").write_text(json.dumps(settings | {"shard_bytes": 10**6}) + "\n")
    assert expander(*words, "--shards", "1MB").returncode == 0
    fresh = expander("data", "prepare", "films", "--out", "fresh", "--short-side", "48", "--shards", "1MB")
    assert fresh.returncode == 0, fresh.stderr
    assert contents(made / "out") == contents(made / "fresh")


def killed_at(point: int, root: str) -> None:
    """Prepares, and kills itself at the `point`-th time that the disk is changed while shards are packed."""
    steps = count()

    def counted(call: Any) -> Any:
        def then(*arguments: Any, **options: Any) -> Any:
            if next(steps) == point:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*arguments, **options)

        return then

    packing.os.replace = counted(os.replace)  # type: ignore[attr-defined]
    packing.tarfile.TarFile.addfile = counted(tarfile.TarFile.addfile)  # type: ignore[attr-defined]
    packing.Path.unlink = counted(Path.unlink)  # type: ignore[attr-defined]
    prepare(Path(root))


@pytest.mark.slow
def test_killed_at_every_seventh_step_of_packing_it_gives_the_same_bytes(made: Path) -> None:
    whole = contents(made / "out")
    shutil.copytree(made / "out", made / "kept")
    film(made / "films" / "train" / "run fast" / "1.mp4", 50, size=(96, 128))  # all shards of it change
    prepare(made)
    changed, ends = contents(made / "out"), 0
    assert changed != whole
    for point in count():
        shutil.rmtree(made / "out")
        shutil.copytree(made / "kept", made / "out")
        process = START.Process(target=killed_at, args=(7 * point, str(made)))
        process.start()
        process.join(120)
        ends += process.exitcode == 0
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        prepare(made)
        assert contents(made / "out") == changed
        assert not list((made / "out").rglob(".*draft"))
    assert point > 5


@pytest.mark.usefixtures("made")
def test_other_sizes_of_shards_need_another_folder(expander: Run) -> None:
    words = ("data", "prepare", "films", "--out")
    for out, more, line in (("out", (), f"prepared with shard_bytes {SIZE}"),
                            ("files", ("--shards",), "prepared with no shard_bytes"),
                            ("new", ("--shards", "12"), "12 is no size, such as 500MB or 2GB")):  # fmt: skip
        done = expander(*words, out, "--short-side", "48", *more)
        assert done.returncode == 2
        assert line in last(done)


@pytest.mark.slow
def test_search_train_and_test_on_shards_give_what_they_give_on_files(
    expander: Run, tmp_path: Path, videos: Path, micro: list[str]
) -> None:
    search = [*micro[: micro.index("--train-ann")], "--max-steps", "1", "--backend", "inline"]
    small = ["--set", "train.epochs=1", "--set", "train.batch=8", "--set", "train.precise_bn=0"]
    told: list[list[Any]] = []
    for out, more in (("files", ()), ("shards", ("--shards", "1MB"))):
        for words in (["data", "prepare", videos, "--out", out, "--short-side", "64", *more],
                      [*search, "--data", out, "--run", f"s-{out}"],
                      ["train", f"s-{out}:final", "--data", out, "--run", f"t-{out}", *small],
                      ["test", f"t-{out}", "--data", out, "--views", "2x1", "--out", f"{out}.json"],
                      ):  # fmt: skip
            done = expander(*words)
            assert done.returncode == 0, done.stderr
        lines = [json.loads(line) for line in decisions(tmp_path / f"runs/s-{out}/journal.jsonl")]
        tested = json.loads((tmp_path / f"{out}.json").read_text())
        told.append([[line for line in lines if line["event"] in DECIDED], tested["metrics"]])
    assert told[0] == told[1]
    assert len(told[0][0]) > 3


DECIDED = ("trial_finished", "step_chosen", "run_finished")
