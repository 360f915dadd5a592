"""Kills a search at random moments and resumes it: `python killing.py KILLS SEED OPTIONS…`.

The searches are forks of this process, which has imported all they need but used none of it, so a start
costs no imports. Runs in the current folder: runs/whole undisturbed, runs/cut0, cut1, … killed.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

from expander.cli.main import main

SOON = 10.0

for name in ("backends.inline", "cli.report", "report.figures", "training.step_time"):
    importlib.import_module(f"expander.{name}")


def start(arguments: list[str]) -> int:
    """The process id of a search, which leads a session of its own."""
    pid = os.fork()
    if pid:
        return pid
    os.setsid()
    log = os.open("search.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    sys.argv = ["expander", *arguments]
    try:
        main()
    except SystemExit as error:
        sys.stdout.flush()
        os._exit(error.code if isinstance(error.code, int) else 1)
    finally:
        os._exit(1)


def wait(pid: int, seconds: float) -> int | None:
    """The exit status of a process that ends within so many seconds, else None."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def of_session(leader: int) -> list[str]:
    """What still runs of the session of a process that is dead."""
    left = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text()
            except OSError:
                continue
            state, _, _, session = text[text.rindex(")") + 2 :].split()[:4]
            if int(session) == leader and state != "Z":
                left.append(text[: text.rindex(")") + 1])
    return left


def arguments_of(run: str, options: list[str]) -> list[str]:
    """Resumes a run whose journal has begun, else starts it afresh."""
    journal = Path("runs", run, "journal.jsonl")
    if journal.exists() and b"\n" in journal.read_bytes():
        return ["search", "--run", run, "--resume"]
    shutil.rmtree(journal.parent, ignore_errors=True)
    return [*options, "--run", run]


def go(kills: int, seed: int, options: list[str]) -> dict[str, object]:
    """Kills so many times; the runs that came to their end, and what outlived its search."""
    begun = time.monotonic()
    assert wait(start([*options, "--run", "whole"]), 600) == 0
    length = time.monotonic() - begun
    rng, run, done, orphans = random.Random(seed), 0, 0, set[str]()
    finished = []
    while done < kills or not finished or finished[-1] != f"cut{run}":
        arguments, since = arguments_of(f"cut{run}", options), time.monotonic()
        pid = start(arguments)
        status = wait(pid, rng.uniform(0, 1.2 * length) if done < kills else 600)
        if status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            done += 1
            deadline = time.monotonic() + SOON
            while (left := of_session(pid)) and time.monotonic() < deadline:
                time.sleep(0.01)
            orphans.update(left)
        elif status == 0:
            finished.append(f"cut{run}")
            if "--resume" not in arguments:  # the machine has become quieter
                length = min(length, time.monotonic() - since)
            run += done < kills
        else:
            raise SystemExit(f"exit status {status}: {Path('search.log').read_text()[-2000:]}")
    seconds = time.monotonic() - begun
    return {"kills": done, "finished": finished, "orphans": sorted(orphans), "seconds": seconds}


if __name__ == "__main__":
    print(json.dumps(go(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])))
