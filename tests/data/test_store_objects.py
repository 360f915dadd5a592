"""Objects of a store and folders that are copied there, against a real S3 server (moto)."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import boto3
import pytest
from conftest import Run
from store import BUCKET, KEYS, Door, Server, bucket

from expander.data.store import objects, remote
from expander.errors import EnvironmentFault, UsageError

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
    objects.claim(HOME, "me")
    assert sorted(objects.below(HOME)) == ["owner"]
    with pytest.raises(UsageError, match="there are files of a run already; choose another --run"):
        objects.claim(HOME, "somebody else")
    assert objects.content(f"{HOME}/owner") == b"me"
    with pytest.raises(EnvironmentFault, match="s3://nowhere/r/owner: the store has no such bucket"):
        objects.claim("s3://nowhere/r", "me")
    objects.delete(f"{HOME}/nothing")
    objects.delete(HOME, folder=True)
    assert objects.below(HOME) == {}


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
    store: Server, expander: Run, micro: list[str], tmp_path: Path
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
    assert line.startswith(f"error: s3://{BUCKET}/runs/r/owner: the store refuses: ")
    assert key["SecretAccessKey"] not in done.stderr + done.stdout
    assert not (tmp_path / "runs" / "r").exists()
