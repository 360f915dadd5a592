"""Objects of a store and folders that are copied there, against a real S3 server (moto)."""

from __future__ import annotations

import re
import shutil
import threading
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from conftest import Run as Command
from searches import began, problem
from store import BUCKET, KEYS, Door, Server, bucket

from expander.config.settings import BackendConfig
from expander.data.store import objects, remote
from expander.engine.preparation import begin
from expander.errors import EnvironmentFault, UsageError
from expander.runs.journal import Run
from expander.runs.ownership import STORE_OWNER, claimed
from expander.search.forecast import TrainingSpeed

HOME = f"s3://{BUCKET}/runs/r"
READ_ONLY = """{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:Get*", "s3:List*"],
                "Resource": "*"}]}"""


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Server]:
    with bucket(tmp_path / "log") as server:
        yield server


def filled(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        file = folder / name.replace("__", "/").replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return folder


@pytest.mark.usefixtures("store")
def test_a_folder_and_its_copy_hold_the_same_after_every_change(tmp_path: Path) -> None:
    here = filled(tmp_path / "a", rows_jsonl="1", checkpoints__s1_pt="old", checkpoints__s1_json="{}")
    copy = objects.Copy(here, HOME)
    copy.push()
    (here / "checkpoints" / "s1.pt").unlink()
    (here / "checkpoints" / "s1.json").unlink()
    filled(here, rows_jsonl="1 2", checkpoints__s2_pt="new", checkpoints__s2_json="[]")
    (here / ".draft").write_text("half")
    copy.push()
    there = objects.below(HOME)
    assert {name: entry.size for name, entry in there.items()} == {
        "rows.jsonl": 3, "checkpoints/s2.pt": 3, "checkpoints/s2.json": 2,
    }  # fmt: skip
    other = objects.Copy(tmp_path / "b", HOME)
    other.fetch(lambda name: not name.endswith(".pt"))
    assert sorted(file.name for file in (tmp_path / "b").rglob("*.*")) == ["rows.jsonl", "s2.json"]
    other.fetch(lambda _: True)
    assert (tmp_path / "b" / "checkpoints" / "s2.pt").read_text() == "new"
    requests = (tmp_path / "log").read_text().count("PUT ")
    other.push()  # what came from there does not go back
    assert (tmp_path / "log").read_text().count("PUT ") == requests


@pytest.mark.usefixtures("store")
def test_a_checkpoint_comes_before_its_manifest_and_the_one_before_it_goes_last(tmp_path: Path) -> None:
    here = filled(tmp_path / "a", checkpoints__s1_pt="old", checkpoints__s1_json="{}", rows_jsonl="1")
    copy = objects.Copy(here, HOME)
    copy.push()
    before = (tmp_path / "log").read_text().count("\n")
    for name in ("s1.pt", "s1.json"):
        (here / "checkpoints" / name).unlink()
    filled(here, checkpoints__s2_pt="new", checkpoints__s2_json="[]", rows_jsonl="1 2")
    copy.push()
    lines = (tmp_path / "log").read_text().splitlines()[before:]
    told = [(kind, name) for line in lines for kind in ("PUT", "DELETE")
            for name in ("rows.jsonl", "s1.pt", "s1.json", "s2.pt", "s2.json")
            if f"{kind} /{BUCKET}/runs/r/" in line and f"{name} HTTP" in line]  # fmt: skip
    assert told == [("PUT", "rows.jsonl"), ("PUT", "s2.pt"), ("PUT", "s2.json"), ("DELETE", "s1.json"),
                    ("DELETE", "s1.pt")]  # fmt: skip


def test_no_name_in_a_store_leads_out_of_the_folder(store: Server, tmp_path: Path) -> None:
    raw = boto3.client("s3", endpoint_url=store.address, region_name="us-east-1",
                       aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
                       aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"])  # fmt: skip
    for key in ("runs/r/../../outside", "runs/r/sub/../../../outside", "runs/r/fine"):
        raw.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    objects.Copy(tmp_path / "deep" / "folder", HOME).fetch(lambda _: True)
    found = {file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*") if file.is_file()}
    assert found == {"deep/folder/fine", "log"}


@pytest.mark.usefixtures("store")
def test_a_place_is_taken_once_and_needs_a_bucket() -> None:
    objects.claim(HOME, "1f", "me")
    assert list(objects.below(HOME)) == ["owner-1f"]
    assert objects.content(f"{HOME}/owner-1f") == b"me"
    with pytest.raises(UsageError, match="there are files of a run already; choose another --run"):
        objects.claim(HOME, "2e", "me")
    objects.put(f"{HOME}/check", b"me")
    objects.claim(HOME, "1f", "me")  # after a kill in the middle of it
    assert list(objects.below(HOME)) == ["owner-1f"]
    objects.put(f"{HOME}/trials/x", b"")
    with pytest.raises(UsageError, match="there are files of a run already"):
        objects.claim(HOME, "1f", "me")
    with pytest.raises(EnvironmentFault, match="s3://nowhere/r/owner-1f: the store has no such bucket"):
        objects.claim("s3://nowhere/r", "1f", "me")
    objects.delete(f"{HOME}/nothing")
    objects.delete(HOME, folder=True)
    assert objects.below(HOME) == {}


@pytest.mark.usefixtures("store")
def test_a_search_that_was_killed_before_its_first_event_has_its_place_a_deleted_one_has_not(
    tmp_path: Path,
) -> None:
    start = replace(began(problem()), backend=BackendConfig("inline", storage=f"s3://{BUCKET}/runs"))
    folder, pace = tmp_path / "r", TrainingSpeed(1.0, 1.0, 0.0, 10, 1)
    folder.mkdir()
    (folder / "lock").touch()
    begin(Run(folder), start, ["expander"], pace)
    for later in ("journal.jsonl", "provenance.json"):
        (folder / later).unlink()
    with claimed(folder, start.backend.storage):
        begin(Run(folder), start, ["expander"], pace)
    assert Run(folder).events() == [start]
    (left,) = objects.below(HOME)
    assert left == objects.OWNER + (folder / STORE_OWNER).read_text()
    shutil.rmtree(folder)
    with pytest.raises(UsageError, match="there are files of a run already"), claimed(folder):
        begin(Run(folder), start, ["expander"], pace)
    assert not folder.exists()


@pytest.mark.usefixtures("store")
def test_a_search_that_cannot_begin_gives_up_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = replace(began(problem()), backend=BackendConfig("inline", storage=f"s3://{BUCKET}/runs"))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Run, "append", interrupted)
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path / "r", start.backend.storage):
        begin(Run(tmp_path / "r"), start, ["expander"], TrainingSpeed(1.0, 1.0, 0.0, 10, 1))
    assert not objects.below(HOME)
    assert not (tmp_path / "r").exists()


@pytest.mark.usefixtures("store")
def test_an_object_that_is_deleted_while_it_is_read_is_not_there(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    objects.put(f"{HOME}/x", b"1")
    store = remote.file_system(HOME)

    class Deleting:
        """The store; another process deletes what is read once its size is known. The library then takes the
        answer of the store for bytes that are too many.
        """

        get_file_info = store.get_file_info

        def open_input_stream(self, place: str) -> object:
            store.delete_file(place)
            raise OSError("AWS Error INTERNAL_FAILURE during GetObject operation: Failed to flush response")

    monkeypatch.setattr(remote, "file_system", lambda _: Deleting())
    with pytest.raises(FileNotFoundError):
        objects.content(f"{HOME}/x")
    assert not caplog.text


@pytest.mark.usefixtures("store")
def test_of_many_at_one_moment_at_most_one_gets_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """All have found it free before the first one writes."""
    count, put = 8, objects.put
    begun = threading.Barrier(count)

    def together(address: str, content: bytes) -> None:
        if not address.endswith("check"):
            begun.wait(60)
        put(address, content)

    def got(owner: str) -> bool:
        try:
            objects.claim(HOME, owner, owner)
        except UsageError:
            return False
        return True

    monkeypatch.setattr(objects, "put", together)
    with ThreadPoolExecutor(count) as pool:
        winners = [number for number, won in enumerate(pool.map(got, map(str, range(count)))) if won]
    assert len(winners) <= 1
    assert [objects.content(f"{HOME}/{name}") for name in objects.below(HOME)] == [
        str(number).encode() for number in winners
    ]


def test_writing_waits_for_a_store_that_is_away(
    store: Server, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with closing(Door(store)) as door:
        monkeypatch.setenv("AWS_ENDPOINT_URL", door.variables["AWS_ENDPOINT_URL"])
        remote._connected.cache_clear()
        objects.put(f"{HOME}/x", b"1")
        door.shut()
        back = iter([door.open])
        monkeypatch.setattr(time, "sleep", lambda _: next(back, int)())
        objects.put(f"{HOME}/x", b"2")
        assert objects.content(f"{HOME}/x") == b"2"
    assert "the store does not answer, trying again" in caplog.text


def test_a_bucket_that_may_only_be_read_is_told_before_anything_is_trained(
    store: Server, expander: Command, micro: list[str], tmp_path: Path
) -> None:
    """moto heeds policies from a number of requests on, here from none."""
    people = boto3.client("iam", endpoint_url=store.address, region_name="us-east-1",
                          aws_access_key_id="x", aws_secret_access_key="y")  # fmt: skip
    people.create_user(UserName="reader")
    key = people.create_access_key(UserName="reader")["AccessKey"]
    people.put_user_policy(UserName="reader", PolicyName="read", PolicyDocument=READ_ONLY)
    now = urllib.request.Request(f"{store.address}/moto-api/reset-auth", b"0", {"Content-Type": "text/plain"})
    urllib.request.urlopen(now).close()
    done = expander(*micro, "--backend", "inline", "--storage-path", f"s3://{BUCKET}/runs", "--run", "r",
                    **{**store.variables, "AWS_ACCESS_KEY_ID": key["AccessKeyId"],
                       "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]})  # fmt: skip
    assert done.returncode == 6, done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert re.match(rf"error: s3://{BUCKET}/runs/r/owner-[0-9a-f]{{32}}: the store refuses: ", line)
    assert key["SecretAccessKey"] not in done.stderr + done.stdout
    assert not (tmp_path / "runs" / "r").exists()
