"""Data in a real object store on this machine: as from files, through outages, and no key is kept."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest
from conftest import Run, decisions
from store import BUCKET, KEYS, Server, client, serving, upload
from test_prepared import films, last
from test_shards import sample, tar_of

import expander
from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.sources import decoder, mean_bytes, open_data, source_limits
from expander.data.store import remote
from expander.data.store.addresses import address_of, checked
from expander.data.store.kept import Kept
from expander.errors import DataError, EnvironmentFault, UsageError
from expander.video.decoder import VideoError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("store") / "log") as server:
        remote._connected.cache_clear()
        yield server
    remote._connected.cache_clear()


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong shows soon."""
    monkeypatch.setattr("expander.data.store.patience.PATIENCE", 10.0)


@pytest.fixture(scope="module")
def here(store: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """files/ and shards/, prepared, and both in the store."""
    root = tmp_path_factory.mktemp("data")
    films(root / "films", each=4)
    for name, size in (("files", None), ("shards", 5000)):
        expander.prepare(root / "films", root / name, short_side=48, processes=1, shard_bytes=size)
        upload(store, root / name, name)
    return root


def opened(place: Path | str) -> VideoData:
    return open_data(DataConfig(folder=str(place)))


def frames(data: VideoData, config: DataConfig) -> list[np.ndarray]:
    reader = decoder(config, data.fingerprint)
    try:
        return [reader.read(path, np.arange) for path in (*data.train.paths, *data.val.paths)]
    finally:
        reader.close()


def test_the_size_of_a_video_is_known_wherever_it_lies(here: Path) -> None:
    sizes = [file.stat().st_size for file in (here / "files" / "videos").rglob("*.mp4")]
    for place in (here / "files", here / "shards", f"s3://{BUCKET}/files", f"s3://{BUCKET}/shards"):
        data = opened(place)
        assert mean_bytes([*data.train.paths, *data.val.paths]) == pytest.approx(sum(sizes) / len(sizes))
    assert mean_bytes([Path(f"s3:/{BUCKET}/files/missing.mp4")]) is None
    assert mean_bytes([here / "missing.mp4"]) is None
    assert mean_bytes([here / "films"]) is None  # as a film that is a folder of pictures


@pytest.mark.parametrize("name", ["files", "shards"])
def test_a_prepared_set_in_the_store_is_that_on_disk(here: Path, name: str) -> None:
    local, config = opened(here / name), DataConfig(folder=f"s3://{BUCKET}/{name}", cache_gb=0)
    found = open_data(config)
    assert (found.classes, found.fingerprint) == (local.classes, local.fingerprint)
    assert [address_of(path) for path in found.train.paths] == [
        f"s3://{BUCKET}/{name}/{path.relative_to(here / name)}" for path in local.train.paths]  # fmt: skip
    for ours, theirs in zip(frames(found, config), frames(local, DataConfig(cache_gb=0)), strict=True):
        assert np.array_equal(ours, theirs)
    assert source_limits(found, config) == source_limits(local, DataConfig(folder=str(here / name)))


def test_shards_without_lists_are_read_by_pattern_and_by_folder(store: Server, tmp_path: Path) -> None:
    for split in ("train", "val"):
        for number in range(2):
            samples = [sample(f"{split}{number}{key}", label, f"{split}{number}{key}".encode())
                       for label, key in enumerate("ab")]  # fmt: skip
            tar_of(tmp_path / f"{split}-{number}.tar", [member for one in samples for member in one])
    address = upload(store, tmp_path, "foreign")
    local = opened(tmp_path)
    for place in (address, f"{address}/{{train,val}}-{{0..1}}.tar"):
        found = opened(place)
        assert (found.fingerprint, found.train.labels) == (local.fingerprint, local.train.labels)
    lists = DataConfig(train_ann=f"{address}/train-{{0..1}}.tar", val_ann=f"{address}/val-{{0..1}}.tar")
    assert open_data(lists).fingerprint == local.fingerprint
    with pytest.raises(DataError, match=r"1 of its 3 shards are missing, the first is train-2\.tar"):
        open_data(DataConfig(train_ann=f"{address}/train-{{0..2}}.tar", val_ann=f"{address}/val-0.tar"))


def test_what_is_not_there_is_told(store: Server, here: Path, tmp_path: Path) -> None:
    kept = Kept(tmp_path, 1e9)
    with pytest.raises(FileNotFoundError):
        kept.at_hand(Path(f"s3://{BUCKET}/files/nothing.mp4"))
    with pytest.raises(DataError, match="no such folder"):
        opened(f"s3://{BUCKET}/nowhere")
    path = opened(f"s3://{BUCKET}/shards").train.paths[1]
    with client(store).open_output_stream(f"{BUCKET}/changed/{path.parent.name}") as out:
        out.write(b"x" * 10_000)
    reader = decoder(DataConfig(cache_gb=0), "f")
    for name, line in (("shards/none.tar/k.mp4@512+10", "no such file"),
                       (f"changed/{path.parent.name}/{path.name}", "is another than when its videos"),
                       (f"changed/{path.parent.name}/k.mp4@99999999+10", "is another than")):  # fmt: skip
        with pytest.raises(VideoError, match=line):
            reader.open(Path(f"s3://{BUCKET}/{name}"))
    assert here.exists()


@pytest.mark.parametrize("address", [
    "s3://AKIA:hush@bucket/videos", "https://me:hush@example.org/videos", "s3://bucket/videos?secret_key=hush",
    "https://example.org/x-{0..3}.tar?X-Amz-Signature=hush"])  # fmt: skip
def test_an_address_with_a_password_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(UsageError, match="a password or a query is not taken") as told:
        checked(address)
    assert "hush" not in str(told.value)
    with pytest.raises(UsageError):
        opened(address)


def test_a_store_that_stays_away_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("expander.data.store.patience.PATIENCE", 1.0)
    remote._connected.cache_clear()
    begun = time.monotonic()
    with pytest.raises(EnvironmentFault, match=r"did not answer for 1 s: .*go on when it is back") as told:
        Kept(tmp_path, 1e9).at_hand(Path("s3://bucket/x.mp4"))
    assert 1 <= time.monotonic() - begun < 10
    assert "\n" not in str(told.value)
    remote._connected.cache_clear()


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files, and parts of them."""

    def do_GET(self) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        file = Path(self.translate_path(self.path))
        if asked is None or not file.is_file():
            super().do_GET()
            return
        content = file.read_bytes()[int(asked[1]) : int(asked[2]) + 1]
        self.send_response(206 if content else 416)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def web(folder: Path, port: int = 0) -> http.server.ThreadingHTTPServer:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def test_a_web_server_serves_too_and_an_outage_is_waited_for(
    here: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = web(here)
    port = server.server_address[1]
    for name in ("files", "shards"):
        config = DataConfig(folder=f"http://127.0.0.1:{port}/{name}", cache_gb=0)
        local, found = opened(here / name), open_data(config)
        assert found.fingerprint == local.fingerprint
        for ours, theirs in zip(frames(found, config), frames(local, DataConfig(cache_gb=0)), strict=True):
            assert np.array_equal(ours, theirs)
    with pytest.raises(DataError, match="no train and val lists and no shards in it"):
        opened(f"http://127.0.0.1:{port}/nowhere")
    server.shutdown()
    server.server_close()
    timer = threading.Timer(2, lambda: setattr(timer, "server", web(here, port)))
    timer.start()
    file = Kept(tmp_path, 1e9).at_hand(found.train.paths[0])
    assert len(file.read_bytes()) > 0
    assert "the store does not answer, trying again" in caplog.text
    timer.server.shutdown()  # type: ignore[attr-defined]
    timer.server.server_close()  # type: ignore[attr-defined]


def test_the_cache_stays_within_its_limit_and_keeps_what_was_used_last(here: Path, tmp_path: Path) -> None:
    found = opened(f"s3://{BUCKET}/files")
    sizes = {path: (here / "files" / str(path)[len(f"s3:/{BUCKET}/files/"):]).stat().st_size
             for path in found.train.paths}  # fmt: skip
    limit = 3.5 * max(sizes.values())
    kept = Kept(tmp_path, limit)
    for age, path in enumerate(sizes):
        file = kept.at_hand(path)
        then = time.time() - 1000 + age  # else all of them were in use a moment ago
        os.utime(file, (then, then))
    kept.make_room()
    left = list(tmp_path.glob("*/*"))
    assert sum(file.stat().st_size for file in left) <= limit
    assert kept._file(list(sizes)[-1]) in left
    assert kept._file(next(iter(sizes))) not in left


def fetched(folder: Path, paths: list[Path]) -> list[bytes]:
    kept = Kept(folder, 1e9)
    return [kept.at_hand(path).read_bytes() for path in paths]


@pytest.mark.slow
@pytest.mark.usefixtures("here")
def test_many_processes_share_the_cache(tmp_path: Path) -> None:
    paths = [*opened(f"s3://{BUCKET}/shards").train.paths]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        found = list(pool.map(fetched, [tmp_path] * 3, [paths] * 3))
    assert found[0] == found[1] == found[2]
    assert sorted(found[0]) == sorted(file.read_bytes() for file in tmp_path.glob("*/*"))


@pytest.mark.slow
def test_a_search_on_the_store_decides_as_on_files_and_keeps_no_key(
    expander: Run, tmp_path: Path, store: Server, videos: Path, micro: list[str], cache: Path
) -> None:
    search = [*micro[: micro.index("--train-ann")], "--max-steps", "1", "--backend", "inline"]
    for out, more in (("files", ()), ("shards", ("--shards", "1MB"))):
        assert expander("data", "prepare", videos, "--out", out, "--short-side", "64", *more).returncode == 0
    address = upload(store, tmp_path / "shards", "searched")
    for name, data in (("here", "files"), ("there", address)):
        pauses = []
        if name == "there":  # it does not answer for a while, somewhere on the way
            pauses = [threading.Timer(seconds, os.kill, (store.process.pid, number))
                      for seconds, number in ((8, signal.SIGSTOP), (14, signal.SIGCONT))]  # fmt: skip
        for pause in pauses:
            pause.start()
        done = expander(*search, "--data", data, "--run", name, **store.variables)
        for pause in pauses:  # of a search that was quicker: none is to hit another process later
            pause.cancel()
        os.kill(store.process.pid, signal.SIGCONT)
        assert done.returncode == 0, done.stderr
    events = ("trial_finished", "step_chosen", "run_finished")
    told = [[line for line in decisions(tmp_path / f"runs/{name}/journal.jsonl")
             if json.loads(line)["event"] in events] for name in ("here", "there")]  # fmt: skip
    assert told[0] == told[1]
    assert len(told[0]) > 3
    for file in (*(tmp_path / "runs").rglob("*"), *cache.rglob("*.jsonl"), *cache.rglob("*.log")):
        if file.is_file():
            content = file.read_bytes()
            assert not [key for key in (KEYS["AWS_ACCESS_KEY_ID"], KEYS["AWS_SECRET_ACCESS_KEY"])
                        if key.encode() in content], file  # fmt: skip
    done = expander(*search, "--data", "s3://me:hush@bucket/x", "--run", "secret", **store.variables)
    assert done.returncode == 2
    assert "a password or a query is not taken" in last(done)
    assert not [file for file in tmp_path.rglob("*") if file.is_file() and b"hush@" in file.read_bytes()]
