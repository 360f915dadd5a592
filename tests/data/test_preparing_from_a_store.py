"""Videos prepared from a real object store on this machine: the same as from the same files on a disk."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run
from films import film
from forking import Command
from store import BUCKET, Door, Server, client, serving, upload
from test_prepared import OPTIONS, contents, films, last

from expander.backends.processes import descendants
from expander.data.prepared import manifest
from expander.data.prepared.manifest import Source
from expander.data.prepared.originals import Listed, content_of, state_of
from expander.data.prepared.video import Job, prepare_video
from expander.data.store import patience, remote
from expander.errors import EnvironmentFault
from expander.video.worker import DecodingProcess
from expander.video.writing.encoder import Encoded, Encoding
from expander.video.writing.film import digest_of

SAME = ["train.txt", "val.txt", "classes.txt", "damaged.csv"]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("store") / "log") as server:
        remote._connected.cache_clear()
        yield server
    remote._connected.cache_clear()


def prepared(out: Path) -> tuple[dict[str, str], str]:
    """The videos, lists and damaged sources of a set, and its fingerprint; not when sources were changed."""
    head = manifest.read_head(out)
    assert head is not None
    kept = {name: digest for name, digest in contents(out).items()
            if name in SAME or name.endswith((".mp4", ".tar"))}  # fmt: skip
    return kept, head["fingerprint"]


@pytest.mark.slow
def test_class_folders_and_shards_of_a_store_give_the_videos_that_those_on_disk_give(
    store: Server, tmp_path: Path, expander: Run
) -> None:
    films(tmp_path / "films")
    (tmp_path / "films" / "train" / "wave" / "text.mp4").write_text("<html>")
    address = upload(store, tmp_path / "films", "films")
    for source, out, more in (("films", "here", ()), (address, "there", ()),
                              ("films", "tars", ("--shards",))):  # fmt: skip
        done = expander("data", "prepare", source, "--out", out, *OPTIONS, *more, **store.variables)
        assert done.returncode == 4, done.stderr
        assert "1 could not be prepared, the first is train/wave/text.mp4: cannot be opened" in last(done)
    assert prepared(tmp_path / "there") == prepared(tmp_path / "here")
    again = upload(store, tmp_path / "tars", "tars")
    for source, out in (("tars", "from-tars"), (again, "from-remote-tars")):
        small = ("--short-side", "32", "--workers", "2")
        done = expander("data", "prepare", source, "--out", out, *small, **store.variables)
        assert done.returncode in (0, 4), done.stderr
    assert prepared(tmp_path / "from-remote-tars") == prepared(tmp_path / "from-tars")
    assert not list(tmp_path.rglob(".*draft*"))


def test_what_changed_in_the_store_is_prepared_anew_what_was_copied_is_not_and_what_is_gone_stays(
    store: Server, tmp_path: Path, expander: Run
) -> None:
    films(tmp_path / "films")
    for split in ("train", "val"):
        rows = sorted((tmp_path / "films" / split).rglob("*.mp4"))
        text = "".join(f"{row.relative_to(tmp_path / 'films')} {int('wave' in row.parts)}\n" for row in rows)
        (tmp_path / "films" / f"{split}.txt").write_text(text)
    address = upload(store, tmp_path / "films", "changing")
    bucket = client(store)

    def call() -> tuple[str, dict[str, dict[str, object]]]:
        """How many were there before, and the manifest."""
        done = expander("data", "prepare", address, "--out", "out", *OPTIONS, **store.variables)
        assert done.returncode == 0, done.stderr
        told = re.search(r"preparing the videos: (\d+/\d+)", done.stderr)
        assert told is not None, done.stderr
        rows = manifest.read(tmp_path / "out").drop(columns="mapping").to_dict("records")
        return told[1], {str(row["source"]): row for row in rows}

    _, rows = call()
    before = contents(tmp_path / "out")
    assert call() == ("6/6", rows)
    assert contents(tmp_path / "out") == before
    film(tmp_path / "films/train/wave/1.mp4", 30, size=(96, 128))
    with bucket.open_output_stream(f"{BUCKET}/changing/train/wave/1.mp4") as out:
        out.write((tmp_path / "films/train/wave/1.mp4").read_bytes())
    copied = "train/wave/2.mp4"
    while state_of(Path(address) / copied)[1] == rows[copied]["source_time"]:  # a store counts seconds
        bucket.copy_file(f"{BUCKET}/changing/{copied}", f"{BUCKET}/other.mp4")
        bucket.copy_file(f"{BUCKET}/other.mp4", f"{BUCKET}/changing/{copied}")
    bucket.delete_file(f"{BUCKET}/changing/val/wave/0.mp4")
    begun, now = call()
    assert begun == "5/6"
    changed = {name for name in rows if now[name] != rows[name]}
    assert changed == {"train/wave/1.mp4", copied}
    assert now["train/wave/1.mp4"]["frames"] == 30
    assert now[copied] == {**rows[copied], "source_time": state_of(Path(address) / copied)[1]}


class Deleting(DecodingProcess):
    """The source is deleted from the store while it is encoded."""

    def __init__(self, log: Path, delete: Callable[[], None]) -> None:
        super().__init__(60, log)
        self.delete = delete

    def prepare(self, source: Path, target: Path, how: Encoding) -> Encoded:
        encoded = super().prepare(source, target, how)
        self.delete()
        return encoded


def test_what_is_deleted_in_the_store_while_it_is_encoded_is_damaged_and_ends_nothing(
    store: Server, tmp_path: Path
) -> None:
    film(tmp_path / "films" / "a.mp4", 12, size=(96, 128))
    address = upload(store, tmp_path / "films", "deleted")
    source, log = Source("a.mp4", "a.mp4", address, 0, "train"), tmp_path / "log"
    with closing(Deleting(log, lambda: client(store).delete_file(f"{BUCKET}/deleted/a.mp4"))) as process:
        outcome = prepare_video(Job(str(tmp_path / "out"), Encoding(48), 60, str(log)), source, process)
    assert (outcome.encoded, outcome.reason) == (None, "no such file")
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


def test_an_outage_while_sources_are_looked_at_is_waited_for_once_and_told_to_all(
    store: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(patience, "PATIENCE", 1.0)
    with closing(Door(store)) as door, ThreadPoolExecutor(8) as pool:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.variables["AWS_ENDPOINT_URL"])
        remote._connected.cache_clear()
        door.shut()
        look = Listed().state_of
        asked = [pool.submit(look, Path(f"s3://{BUCKET}/away/{number}.mp4")) for number in range(8)]
        faults = [one.exception() for one in asked]
    remote._connected.cache_clear()
    assert [type(fault) for fault in faults] == [EnvironmentFault] * 8
    assert len(set(map(id, faults))) == 1
    assert len(caplog.messages) == 1


def test_a_disk_that_takes_no_copy_of_a_source_is_named(store: Server, tmp_path: Path) -> None:
    film(tmp_path / "films" / "a.mp4", 2, size=(96, 128))
    source = Path(upload(store, tmp_path / "films", "copied")) / "a.mp4"
    assert content_of(source, tmp_path) == digest_of(tmp_path / "films" / "a.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["films"]
    with pytest.raises(EnvironmentFault, match=f"^{tmp_path}/nowhere/.*: cannot be made: No such file"):
        content_of(source, tmp_path / "nowhere")


def test_a_prepared_set_is_made_on_a_disk(expander: Run, tmp_path: Path) -> None:
    films(tmp_path / "films", each=2)
    done = expander("data", "prepare", "films", "--out", f"s3://{BUCKET}/out")
    assert done.returncode == 2
    assert f"--out s3://{BUCKET}/out: videos are prepared on a disk" in last(done)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["films"]


@pytest.mark.slow
def test_killed_and_called_again_it_goes_on_to_the_same_bytes(
    store: Server, tmp_path: Path, expander: Run
) -> None:
    films(tmp_path / "films", each=4)
    for number in range(3):
        film(tmp_path / "films" / "train" / "wave" / f"long{number}.mp4", 400, size=(96, 128))
    address = upload(store, tmp_path / "films", "killed")
    call = ["data", "prepare", address, *OPTIONS]
    assert expander(*call, "--out", "whole", **store.variables).returncode == 0
    for done in (2, 9):
        with Command([*call, "--out", "cut"], tmp_path, more=store.variables) as process:
            for line in process.stderr:
                if f"preparing the videos: {done}" in line:
                    break
            below = descendants(process.pid)
            process.kill()
            assert process.wait(60) == -signal.SIGKILL
            for one in below:
                while one.alive:
                    time.sleep(0.05)
    assert len(list((tmp_path / "cut").glob("videos/*/*.mp4"))) >= 9
    end = expander(*call, "--out", "cut", **store.variables)
    assert end.returncode == 0, end.stderr
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
