"""What was found out about a film is believed of the same content at any place, and of no other content."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from films import film, numbers

from expander.video import probe
from expander.video.decoder import Decoder, VideoError
from expander.video.probe import Verdict
from expander.video.verdict_cache import VERSION, Verdicts, key_of

TOLD = "as told before"


def verdict(path: Path, file: Path) -> Verdict:
    """Of a film, by a run that shares the file of verdicts with others."""
    decoder = Decoder(verdicts=file)
    try:
        return decoder.examine(path)
    finally:
        decoder.close()


@pytest.mark.parametrize("how", ["moved", "copied", "touched", "linked"])
def test_a_film_is_proved_once_wherever_it_goes(tmp_path: Path, how: str) -> None:
    path, file = film(tmp_path / "x.avi", 9), tmp_path / "verdicts.jsonl"
    reason = verdict(path, file).reason
    file.write_text(file.read_text().replace(reason, TOLD))  # an examination would not say this
    there = path if how == "touched" else tmp_path / "there" / "y.avi"
    there.parent.mkdir(exist_ok=True)
    if how == "moved":
        path.rename(there)
    elif how == "copied":
        shutil.copyfile(path, there)
    elif how == "linked":
        os.link(path, there)
    os.utime(there, (1, 1))
    assert verdict(there, file) == Verdict("pyav", TOLD)
    known = Verdicts(file)
    assert known.known[key_of(there)].reason == TOLD  # from now on without reading it
    assert len(set(known.contents.values())) == 1
    decoder = Decoder(verdicts=file)
    assert numbers(decoder.read(there, np.arange)) == list(range(9))
    decoder.close()


def test_a_film_that_crashed_its_decoder_is_not_tried_at_another_place(tmp_path: Path) -> None:
    path, file = film(tmp_path / "x.mp4", 5), tmp_path / "verdicts.jsonl"
    verdict(path, file)
    Verdicts(file).add(key_of(path), Verdict("bad", "the decoder crashed over it"))
    shutil.copyfile(path, tmp_path / "y.mp4")
    with pytest.raises(VideoError, match=r"y\.mp4: the decoder crashed over it"):
        Decoder(verdicts=file).read(tmp_path / "y.mp4", np.arange)


def test_what_is_of_the_moment_is_believed_of_one_place_and_by_one_run_only(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    run = Verdicts(file)
    run.recognise("here", "content")
    run.add("here", Verdict("bad", "decoding it took over 1 s"), keep=False)
    assert run.known["here"].route == "bad"
    run.recognise("there", "content")
    assert "there" not in run.known
    assert not file.exists()


def replaced(path: Path, content: bytes) -> None:
    """Writes other bytes of the same number into a file, whose time stays as it was."""
    before = path.stat()
    assert len(content) == before.st_size
    path.write_bytes(content)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_mtime_ns, after.st_ino) == (before.st_mtime_ns, before.st_ino)


def test_a_film_replaced_within_its_size_and_time_is_looked_at_anew(tmp_path: Path) -> None:
    path, file = film(tmp_path / "x.mp4", 9), tmp_path / "verdicts.jsonl"
    whole = path.read_bytes()
    assert verdict(path, file).route != "bad"
    replaced(path, b"no video".ljust(len(whole)))
    assert verdict(path, file).route == "bad"
    replaced(path, whole)  # repaired, as by a download that goes on
    decoder = Decoder(verdicts=file)
    assert numbers(decoder.read(path, np.arange)) == list(range(9))
    decoder.close()


READ = """
import ctypes, os, sys
for capability in (1, 2):  # to read whatever the mode of a file says: root's, which a new program loses
    if os.getuid() == 0 and ctypes.CDLL(None).prctl(24, capability, 0, 0, 0):
        sys.exit(77)
os.execv(sys.executable, [sys.executable, "-c", sys.argv[1], *sys.argv[2:]])
"""
FRAMES = """
import sys
from pathlib import Path
from expander.video import probe
from expander.video.decoder import Decoder, VideoError
try:
    print(len(Decoder(verdicts=Path(sys.argv[2])).read(Path(sys.argv[1]), lambda length: range(length))))
except VideoError as error:
    print(error)
"""


@pytest.mark.parametrize("suffix", ["mp4", "avi"])
def test_a_film_is_read_once_its_permission_is_repaired(tmp_path: Path, suffix: str) -> None:
    """Both times by a process that no privilege helps. Skipped as root without the right to give some up."""
    path, file = film(tmp_path / f"x.{suffix}", 5), tmp_path / "verdicts.jsonl"

    def read() -> str:
        command = [sys.executable, "-c", READ, FRAMES, str(path), str(file)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode == 77:
            pytest.skip("root, and may not give up its privileges")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    path.chmod(0)
    assert read() == f"{path}: cannot be opened: Permission denied"
    assert not file.exists()
    path.chmod(0o644)
    assert read() == "5"
    assert "bad" not in file.read_text()


def test_lines_of_several_runs_and_cut_lines_do_no_harm(tmp_path: Path) -> None:
    file = tmp_path / "verdicts.jsonl"
    runs = Verdicts(file), Verdicts(file)
    for number, run in enumerate(runs):
        run.recognise(f"place {number}", "content")
        run.add(f"place {number}", Verdict("decord"))
    with file.open("a") as out:
        out.write('[1]\n{"key": "x", "route": "bad", "reason": "", "content": [1]}\n{"key": "pl')
    found = Verdicts(file)
    assert sorted(found.known) == ["place 0", "place 1"]
    assert found.judged == {"content": Verdict("decord")}


def test_what_is_no_plain_file_is_known_by_its_place_only(tmp_path: Path) -> None:
    """A pipe would be waited for; a folder of pictures has no content of its own."""
    file = tmp_path / "verdicts.jsonl"
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "pictures").mkdir()
    assert verdict(tmp_path / "pipe.mp4", file).route == "bad"
    assert verdict(tmp_path / "pictures", file).route == "pictures"
    assert Verdicts(file).contents == {}


RULES = "6-a92cc34f3630d7ea"
"""Version, and a digest of the files that judge."""


def test_whoever_changes_the_rules_raises_their_version() -> None:
    """Or verdicts by the rules of before would be believed. Where only words change, the digest alone."""
    folder = Path(probe.__file__).parent
    files = [folder / "probe.py", *sorted((folder / "jump_proof").glob("*.py"))]
    digest = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]
    assert f"{VERSION}-{digest}" == RULES, "raise VERSION in verdict_cache.py, and write both here"
