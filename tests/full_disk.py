"""A search whose disk refuses: every write once, and files beyond a size. `python full_disk.py OPTIONS…`.

Runs in the current folder, in this one process: runs/whole undisturbed; runs/refused, in which every
opening for writing, making and renaming below runs/ fails the first time with ENOSPC; runs/small, in
which no file may grow beyond a limit that rises until the search fits. Prints what it did as JSON.
The refusals come from an audit hook, the limit from the kernel (RLIMIT_FSIZE).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import re
import resource
import shutil
import sys
from pathlib import Path
from typing import Any

import yaml

from expander.cli.main import main

WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
SMALLEST, GROWTH = 500, 1.6


class Refusal:
    """The audit hook: on, it refuses every operation that it has not refused before."""

    def __init__(self, root: Path) -> None:
        self.root, self.on = str(root), False
        self.seen: set[str] = set()

    def __call__(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.on or event not in ("open", "os.rename", "os.mkdir"):
            return
        path = str(given[1] if event == "os.rename" else given[0])
        if not os.path.abspath(path).startswith(self.root) or (event == "open" and not given[2] & WRITES):
            return
        plain = re.sub(r"[.]([a-z.0-9-]+)[.][a-z0-9_]{8}$", r"~\1", path)  # of a temporary file
        name = f"{event} {os.path.relpath(plain, self.root)}"
        if name not in self.seen:
            self.seen.add(name)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), path)


def call(arguments: list[str]) -> tuple[int, str]:
    """Exit code and stderr of the command line, called in this process."""
    sys.argv = ["expander", *arguments]
    told = io.StringIO()
    with contextlib.redirect_stderr(told), contextlib.redirect_stdout(io.StringIO()):
        try:
            main()
        except SystemExit as error:
            return int(error.code or 0), told.getvalue()


def arguments_of(run: str, options: list[str]) -> list[str]:
    """Resumes a run whose journal has begun, else starts it afresh."""
    journal = Path("runs", run, "journal.jsonl")
    if journal.exists() and b"\n" in journal.read_bytes():
        return ["search", "--run", run, "--resume"]
    shutil.rmtree(journal.parent, ignore_errors=True)
    return [*options, "--run", run]


def check(folder: Path) -> None:
    """No file under a final name is a part of one."""
    for manifest in folder.rglob("step-*.json"):
        facts = json.loads(manifest.read_bytes())
        content = manifest.with_suffix(".pt").read_bytes()
        assert hashlib.sha256(content).hexdigest() == facts["sha256"], manifest
    for file in folder.rglob("*.yaml"):
        assert yaml.safe_load(file.read_text()), file
    for file in folder.rglob("weights.safetensors"):
        from safetensors import safe_open

        with safe_open(str(file), "pt") as opened:
            assert list(opened.keys()), file
    for file in folder.rglob("provenance.json"):
        json.loads(file.read_text())


def until_done(run: str, options: list[str], failed: list[str]) -> None:
    """Calls until it ends well; what it says when it does not goes to `failed`."""
    while True:
        code, told = call(arguments_of(run, options))
        if code == 0:
            return
        last = told.strip().splitlines()[-1]
        assert code == 6, (code, told)
        assert last.startswith("error: "), told
        assert str(Path("runs", run)) in last or str(Path("runs", run).resolve()) in last, told
        assert "Traceback" not in told, told
        failed.append(last)
        assert len(failed) < 300
        check(Path("runs", run))
        if run == "small":
            soft = int(resource.getrlimit(resource.RLIMIT_FSIZE)[0] * GROWTH)
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, resource.RLIM_INFINITY))


def go(options: list[str]) -> dict[str, Any]:
    """All three runs."""
    assert call([*options, "--run", "whole"])[0] == 0
    refused: list[str] = []
    small: list[str] = []
    refusal = Refusal(Path.cwd() / "runs" / "refused")
    sys.addaudithook(refusal)
    refusal.on = True
    until_done("refused", options, refused)
    refusal.on = False
    resource.setrlimit(resource.RLIMIT_FSIZE, (SMALLEST, resource.RLIM_INFINITY))
    until_done("small", options, small)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return {"operations": sorted(refusal.seen), "refused": refused, "small": small}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(go(sys.argv[1:])))
