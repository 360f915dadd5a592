"""Class folders in a real object store on this machine: the data set that the same folders on a disk are."""

from __future__ import annotations

import http.server
import logging
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from conftest import Run
from store import BUCKET, Door, Server, client, serving, upload
from test_class_folders import touch
from test_formats import as_kinetics, as_ssv2
from test_multi_label import CHARADES

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.folders import Item, class_folders
from expander.data.sources import open_data
from expander.data.store import remote
from expander.data.store.addresses import address_of
from expander.data.store.listing import Listing
from expander.data.tasks import reopened
from expander.errors import DataError


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("store") / "log") as server:
        remote._connected.cache_clear()
        yield server
    remote._connected.cache_clear()


def opened(place: Path | str, again: bool = False, form: str = "auto") -> VideoData:
    return open_data(DataConfig(folder=str(place), ann_format=form), again=again)


def both(local: VideoData, found: VideoData, root: Path, address: str) -> None:
    """The data set in the store is that on the disk."""
    assert (found.form, found.classes, found.fingerprint) == (local.form, local.classes, local.fingerprint)
    for ours, theirs in ((found.train, local.train), (found.val, local.val)):
        assert [address_of(path) for path in ours.paths] == [
            f"{address}/{path.relative_to(root)}" for path in theirs.paths]  # fmt: skip
        assert ours.labels == theirs.labels


@pytest.mark.parametrize("begin", ["", "train/"])
def test_class_folders_in_the_store_are_those_on_disk(
    store: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, begin: str
) -> None:
    """With what is left out, and told alike; but folders deeper than a class are not looked into."""
    names = [
        f"{name}/{number}.mp4"
        for name in ("run fast", "Wave", "sit#1", "\u00e9t\u00e9")
        for number in range(7)
    ]
    touch(tmp_path / "set", *(f"{begin}{name}" for name in names))
    if begin:
        touch(tmp_path / "set", "validation/Wave/a.mp4", "validation/sit#1/b.webm", "train_notes.txt")
    touch(tmp_path / "set", *(f"{begin}{name}" for name in (
        "run fast/.hidden.mp4", ".git/x.mp4", "run fast/s1/11.mp4", "run fast/s1/x/12.mp4", "Wave/notes.txt",
        "empty/none.txt", "loose.mp4")))  # fmt: skip
    address = upload(store, tmp_path / "set", f"left{len(begin)}")
    local = opened(tmp_path / "set")
    told = [line.replace(str(tmp_path / "set"), address) for line in caplog.messages]
    caplog.clear()
    both(local, opened(address), tmp_path / "set", address)
    walked = "2 deeper than <class>/<video> (the first is run fast/s1/11.mp4)"
    assert [line.count(walked) for line in told] == [1]
    left = "1 deeper than <class>/<video>, not looked into (the first is run fast/s1/)"
    assert caplog.messages == [told[0].replace(walked, left)]
    listing = Listing(address)
    class_folders(Path(address), listing.look)
    assert not any("/s1" in folder for folder in listing.known)
    assert f"{address}/{begin}run fast" in listing.known


def test_the_names_of_classes_txt_and_the_format_count_as_on_disk(store: Server, tmp_path: Path) -> None:
    touch(tmp_path, *(f"{split}/{name}/{split}.mp4" for split in ("train", "val") for name in "ab"))
    for name in ("train.txt", "val.txt"):
        (tmp_path / name).write_text(f"{name[:-4]}/b/{name[:-4]}.mp4 0\n{name[:-4]}/a/{name[:-4]}.mp4 1\n")
    (tmp_path / "classes.txt").write_text("b\na\n")
    address = upload(store, tmp_path, "named")
    for form in ("auto", "folders"):
        found = opened(address, form=form)
        both(opened(tmp_path, form=form), found, tmp_path, address)
        assert (found.form, found.classes) == ({"auto": "list"}.get(form, form), ("b", "a"))


@pytest.mark.slow
def test_a_class_of_more_videos_than_a_page_is_whole_and_workers_ask_for_none_of_it_again(
    store: Server, tmp_path: Path
) -> None:
    """A store gives a thousand names at a time."""
    touch(tmp_path, *(f"a/{number:04}.mp4" for number in range(1100)), "b/1.mp4", "b/2.mp4")
    address = upload(store, tmp_path, "paged")
    found = opened(address)
    both(opened(tmp_path), found, tmp_path, address)
    assert len(found.train) + len(found.val) == 1102
    with client(store).open_output_stream(f"{BUCKET}/paged/b/3.mp4"):
        pass
    assert opened(address, again=True).fingerprint == found.fingerprint
    assert len(opened(address).train) + len(opened(address).val) == 1103


@pytest.mark.parametrize("form", ["auto", "folders"])
def test_a_node_that_keeps_the_lists_and_folders_of_an_earlier_run_asks_anew_for_those_of_the_next(
    store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    videos = [f"{split}/{name}/1.mp4" for split in ("train", "val") for name in "ab"]
    touch(tmp_path / "set", *videos)
    for split in ("train", "val"):
        (tmp_path / "set" / f"{split}.txt").write_text(f"{split}/a/1.mp4 0\n{split}/b/1.mp4 1\n")
    address = upload(store, tmp_path / "set", f"next-{form}")
    first = opened(address, form=form)
    touch(tmp_path / "set", "train/a/2.mp4")
    with (tmp_path / "set" / "train.txt").open("a") as lines:
        lines.write("train/a/2.mp4 0\n")
    upload(store, tmp_path / "set", f"next-{form}")
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
        second = opened(address, form=form)
    config = DataConfig(folder=address, ann_format=form)
    assert reopened("classification", config, first.fingerprint).fingerprint == first.fingerprint
    found = reopened("classification", config, second.fingerprint)
    assert (found.fingerprint, len(found.train.paths)) == (second.fingerprint, 3)


def test_what_is_wrong_is_one_line(store: Server, tmp_path: Path, expander: Run) -> None:
    touch(
        tmp_path, "one/a/1.mp4", "single/a/1.mp4", "single/b/1.mp4", "empty/train/x.mp4", "empty/val/b/1.mp4"
    )
    address = upload(store, tmp_path, "faults")
    for name, line in (("nowhere", "no such folder"),
                       ("one", "no train and val lists, and no folders of videos"),
                       ("single", "every class has one video only"),
                       ("empty", "no folders of videos by class in it")):  # fmt: skip
        with pytest.raises(DataError, match=f"^{address}/{name}.*: {line}") as told:
            opened(f"{address}/{name}")
        assert "\n" not in str(told.value)
    done = expander("data", "index", f"{address}/single", "--out", "x.csv", **store.variables)
    assert done.returncode == 3
    assert len(done.stderr.splitlines()) == 1
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with pytest.raises(DataError, match=r"a web server lists no folders of videos by class"):
        opened(f"http://127.0.0.1:{server.server_address[1]}/nowhere")
    server.shutdown()
    server.server_close()


def test_an_outage_while_many_folders_are_asked_for_is_waited_for_and_told_once(
    store: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    touch(tmp_path, *(f"{name}/1.mp4" for name in "abcdefgh"))
    address = upload(store, tmp_path, "away")
    with closing(Door(store)) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.variables["AWS_ENDPOINT_URL"])
        remote._connected.cache_clear()
        door.shut()
        told = logging.Handler()
        told.emit = lambda _: door.open()  # type: ignore[method-assign]
        logging.getLogger("expander").addHandler(told)
        try:
            found = Listing(address).look([Path(f"{address}/{name}") for name in "abcdefgh"])
        finally:
            logging.getLogger("expander").removeHandler(told)
    remote._connected.cache_clear()
    assert found == [[Item("1.mp4", is_folder=False)]] * 8
    assert [line.partition(" again")[0].rpartition("/")[0] for line in caplog.messages] == [address]


def as_charades(root: Path) -> None:
    touch(root, "Charades_v1_480/AB1.mp4", "Charades_v1_480/CD2.mp4", "Charades_v1_480/EF3.mp4")
    (root / "Charades_v1_train.csv").write_text(f"{CHARADES}AB1,,,c092 1 2;c147 0 1,\nCD2,,,c003 1 2,\n"
                                                "lost,,,c003 1 2,\n")  # fmt: skip
    (root / "Charades_v1_test.csv").write_text(f"{CHARADES}EF3,,,c092 1 2,\n")


@pytest.mark.parametrize("make", [as_kinetics, as_ssv2, as_charades])
@pytest.mark.parametrize("lists", ["there", "here"])
def test_videos_named_without_their_ending_are_looked_up_in_the_store(
    store: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Path], None], lists: str
) -> None:  # fmt: skip
    """With what is lost told alike, of two of a name the same, and every folder asked for once."""
    root = tmp_path / "set"
    make(root)
    video = next(path for path in sorted(root.rglob("*")) if path.suffix in (".mp4", ".webm"))
    touch(root, *(f"{folder}/{video.stem}.avi" for folder in ("zz", "train/a", ".hidden")))
    address = upload(store, root, f"stems-{make.__name__}-{lists}")
    local = opened(root)
    told = [line.replace(str(root), address) for line in caplog.messages]
    assert len(told) == (make is not as_ssv2)
    caplog.clear()
    before = Path(store.log.name).read_text()
    config = DataConfig(folder=address) if lists == "there" else DataConfig(folder=str(root), root=address)
    both(local, open_data(config), root, address)
    last = [line.rpartition("/")[2] for line in told]
    assert [line.rpartition("/")[2] for line in caplog.messages] == last
    asked = re.findall(r"list-type=2\S*prefix=(\S*?)[& ]", Path(store.log.name).read_text()[len(before) :])
    below = [folder for folder in asked if folder != f"stems-{make.__name__}-{lists}/"]
    assert len(set(below)) == len(below) > 0
    assert not any("hidden" in folder for folder in below)
    before = Path(store.log.name).read_text()
    again = open_data(config, again=True)
    both(local, again, root, address)
    assert "list-type=2" not in Path(store.log.name).read_text()[len(before) :]


def test_a_web_server_is_said_to_list_no_folders_to_look_videos_up_in(tmp_path: Path) -> None:
    as_kinetics(tmp_path)
    with pytest.raises(DataError, match=r"^https://example.org/k400: .* write lists of `path label`$"):
        open_data(DataConfig(folder=str(tmp_path), root="https://example.org/k400"))
