"""Shards that others wrote are read as they are, and each fault of one is a clear line.

The other implementation is the webdataset library where it is installed (the test extra), and tarfile.
"""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import webdataset
from braceexpand import braceexpand
from films import film, numbers

from expander.config.settings import DataConfig
from expander.data.annotations import VideoData
from expander.data.shards import index, tables
from expander.data.shards.tars import read_shard
from expander.data.sources import open_data
from expander.errors import DataError
from expander.video.decoder import Decoder, VideoError
from expander.video.tar_members import open_video, span_of

Member = tuple[str, bytes]


def tar_of(path: Path, members: Iterable[Member]) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def sample(key: str, label: int = 0, video: bytes = b"video") -> list[Member]:
    return [(f"{key}.cls", str(label).encode()), (f"{key}.mp4", video)]


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Eight films, of 10 to 17 frames."""
    root = tmp_path_factory.mktemp("films")
    return [film(root / f"{number}.mp4", 10 + number).read_bytes() for number in range(8)]


@pytest.fixture
def written(tmp_path: Path, contents: list[bytes]) -> Path:
    """Eight samples in shards of three by the webdataset library, train and val."""
    for split in ("train", "val"):
        pattern = str(tmp_path / f"set-{split}-%06d.tar")
        with webdataset.ShardWriter(pattern, maxcount=3, verbose=0) as writer:
            for number, content in enumerate(contents):
                video = content if split == "train" else content + b"\0"
                writer.write({"__key__": f"clips/{number}", "mp4": video, "cls": number % 2,
                              "json": {"fps": 25}})  # fmt: skip
    return tmp_path


def opened(place: Path | str) -> VideoData:
    return open_data(DataConfig(folder=str(place)))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it leaves its tars open
def test_the_videos_and_labels_are_those_that_webdataset_reads(written: Path) -> None:
    found = opened(written)
    for split, videos in (("train", found.train), ("val", found.val)):
        urls = str(written / f"set-{split}-{{000000..000002}}.tar")
        told = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
        assert len(videos) == len(told) == 8
        for path, label, theirs in zip(videos.paths, videos.labels, told, strict=True):
            span = span_of(path)
            assert span is not None
            assert span.name == f"{theirs['__key__']}.mp4"
            assert label == int(theirs["cls"])
            with open_video(path) as video:
                assert video.read() == theirs["mp4"]


def test_a_pattern_and_two_patterns_are_the_folder(written: Path) -> None:
    whole, ends = opened(written), "-{000000..000002}.tar"
    pattern = opened(written / f"set-{{train,val}}{ends}")
    lists = open_data(DataConfig(train_ann=str(written / f"set-train{ends}"),
                                 val_ann=str(written / f"set-val{ends}"), root="/"))  # fmt: skip
    for found in (pattern, lists):
        assert [*found.train.paths] == [*whole.train.paths]
        assert [*found.val.paths] == [*whole.val.paths]
        assert found.fingerprint == whole.fingerprint


def test_frames_of_a_member_are_those_of_the_file(written: Path) -> None:
    decoder = Decoder()
    for number, path in enumerate(opened(written).train.paths):
        assert numbers(decoder.read(path, np.arange)) == list(range(10 + number))
    child = decoder.process.child
    assert child is not None
    opened_files = [os.readlink(link) for link in Path(f"/proc/{child.pid}/fd").iterdir()]
    assert not [name for name in opened_files if name.endswith(".tar")]
    decoder.close()


@pytest.mark.parametrize("text", ["a-{000000..000012}.tar", "a-{8..11}.tar", "a-{08..11}.tar", "a.tar",
                                  "{train,val}-{0..2}.tar", "{x,y,z}.tar"])  # fmt: skip
def test_braces_are_expanded_as_braceexpand_does(text: str) -> None:
    assert tables._expanded(text) == list(braceexpand(text))


@pytest.mark.parametrize("text", ["a-{5..3}.tar", "a-{x}.tar", "a-{{0..1},x}.tar", "a-{0..1.tar", "a-{}.tar",
                                  "{0..999999}-{0..999999}.tar"])  # fmt: skip
def test_braces_that_say_nothing_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"000000\.\.000123"):
        tables._expanded(text)


@pytest.mark.parametrize(
    ("members", "line"),
    [
        ([("a.mp4", b"v")], "sample 'a' has no label: add a.cls with a class number"),
        ([("a.mp4", b"v"), ("a.json", b"{}")], "sample 'a' has no label"),
        ([("a.mp4", b"v"), ("a.json", b"{")], "a.json: no JSON"),
        ([("a.mp4", b"v"), ("a.cls", b"archery")], "a.cls: expected a class number from 0, found 'archery'"),
        ([("a.mp4", b"v"), ("a.cls", b"-1")], "a.cls: expected a class number"),
        ([*sample("a"), *sample("b"), *sample("a")], "the key 'a' comes twice"),
        ([*sample("a"), ("a.mp4", b"w")], "a.mp4 is in it twice"),
        ([*sample("a"), ("a.webm", b"w")], "sample 'a' has 2 videos (a.mp4, a.webm)"),
    ],
)  # fmt: skip
def test_a_sample_that_is_no_good_is_told(tmp_path: Path, members: list[Member], line: str) -> None:
    tar = tar_of(tmp_path / "x.tar", members)
    with pytest.raises(DataError) as told:
        read_shard(tar)
    assert str(told.value).startswith(f"{tar}: ")
    assert line in str(told.value)


def test_what_is_no_sample_is_passed_over(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", [("__meta__.json", b"{}"), ("README", b"hello"), *sample("a.d/b", 3),
                                      ("c.json", json.dumps({"label": 4}).encode()), ("c.d.MP4", b"v"),
                                      ("e.cls", b"5"), ("." + "f.mp4", b"v")])  # fmt: skip
    found = read_shard(tar)
    assert [(one.name, one.label) for one in found.samples] == [("a.d/b.mp4", 3), ("c.d.MP4", 4)]
    assert found.silent == ("e",)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_names_and_every_kind_of_header_are_read(tmp_path: Path, form: int) -> None:
    name = "d" * 90 + "/" + ("ü" * 40 if form == tarfile.PAX_FORMAT else "k" * 90)
    with tarfile.open(tmp_path / "x.tar", "w", format=form) as tar:
        for member, content in sample(name, 7, b"0123"):
            info = tarfile.TarInfo(member)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    (found,) = read_shard(tmp_path / "x.tar").samples
    assert (found.name, found.label) == (f"{name}.mp4", 7)
    with open_video(tmp_path / f"x.tar/{found.name}@{found.offset}+{found.size}") as video:
        assert video.read() == b"0123"


def test_every_shard_that_is_cut_short_is_told(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "x.tar", [*sample("a", 0, b"v" * 700), *sample("b", 1, b"w" * 512)])
    with tarfile.open(whole) as tar:
        end = max(info.offset_data + info.size for info in tar)
    for length in range(0, end + 1, 64):
        os.truncate(whole, length)
        with pytest.raises(DataError, match=r"cut short or damaged|damaged: "):
            read_shard(whole)
        tar_of(whole, [*sample("a", 0, b"v" * 700), *sample("b", 1, b"w" * 512)])


def test_compressed_and_foreign_shards_are_told(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w:gz"):
        pass
    (tmp_path / "y.tar").write_bytes(b"hello" * 1000)
    (tmp_path / "z.tar").write_bytes(b"")
    for name, line in (("x", "it is compressed"), ("y", "damaged"), ("z", "damaged")):
        with pytest.raises(DataError, match=line):
            read_shard(tmp_path / f"{name}.tar")
    with pytest.raises(DataError, match="a compressed shard cannot be read"):
        opened(tmp_path / "train-{0..1}.tar.gz")


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("set-train-{000000..000004}.tar", "2 of its 5 shards are missing, the first is set-train-000003"),
        ("set-train-{000000..000002}.tar", "no shard has val in its name; name the shards of each split"),
        ("both-train-val-{0..0}.tar", "has both train and val in its name"),
    ],
)
def test_shards_that_are_missing_or_of_no_split_are_told(written: Path, pattern: str, line: str) -> None:
    (written / "both-train-val-0.tar").write_bytes(b"")
    with pytest.raises(DataError) as told:
        opened(written / pattern)
    assert line in str(told.value)


def test_samples_without_a_video_are_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for split in ("train", "val"):
        tar_of(tmp_path / f"{split}.tar", [*sample(f"{split}a", 0, b"1" + split.encode()), ("n.cls", b"0"),
                                           *sample(f"{split}b", 1, b"2" + split.encode())])  # fmt: skip
    assert len(opened(tmp_path).train) == 2
    assert "1 samples have no video and are left out; the first is train.tar/n" in caplog.text


def test_a_copy_of_a_training_video_is_found_in_shards_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for split in ("train", "val"):
        tar_of(tmp_path / f"{split}.tar", [*sample("a", 0, b"the same"), *sample("b", 1, split.encode())])
    opened(tmp_path)
    assert "1 of 2 validation videos are copies of training videos" in caplog.text


def test_headers_are_read_once_and_again_when_the_shard_changes(
    written: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, read = opened(written), list[Path]()

    def counted(tar: Path) -> index.Shard:
        read.append(tar)
        return read_shard(tar)

    monkeypatch.setattr(index, "read_shard", counted)
    assert opened(written).fingerprint == whole.fingerprint
    assert not read
    changed = written / "set-train-000002.tar"
    tar_of(changed, sample("new", 1, b"another video"))
    assert len(opened(written).train) == 7
    assert read == [changed]


def test_a_damaged_index_is_made_again(written: Path, cache: Path) -> None:
    whole = opened(written)
    kept = sorted((cache / "expander" / index.FOLDER).glob("*.json"))
    assert len(kept) >= 6
    for number, file in enumerate(kept):
        text = file.read_text()
        file.write_text(text[: len(text) // 2] if number % 2 else text.replace("@", "#").replace("1", "2", 3))
    assert opened(written).fingerprint == whole.fingerprint


def test_a_shard_that_changed_since_it_was_listed_gives_no_other_video(written: Path) -> None:
    path = opened(written).train.paths[1]
    span = span_of(path)
    assert span is not None
    tar_of(span.tar, sample("k", 0, b"x" * (span.offset + span.size)))
    decoder = Decoder()
    with pytest.raises(VideoError, match=r"set-train-000000\.tar is another than when its"):
        decoder.open(path)
    span.tar.unlink()
    with pytest.raises(VideoError, match="no such file"):
        Decoder().open(path)
    decoder.close()
