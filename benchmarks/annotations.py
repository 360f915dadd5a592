"""`expander data index` on lists of a million videos, in two formats: what is read, checked and written.

    python benchmarks/annotations.py [--rows 1000000]

Each is a process of its own, as a user starts it. Prints a table, asserts nothing.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CLASSES = 401  # a prime, so that both lists have all of them
VAL = 20  # one row in so many validates


def main() -> None:
    """Writes the lists, indexes them, indexes what came of it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        lists(folder, rows)
        print(f"{rows} rows\n{'':12}{'seconds':>8}{'CPU s':>8}")
        timed("list", folder, folder / "index.csv")
        timed("expander", folder / "index.csv", folder / "again.csv")


def lists(folder: Path, rows: int) -> None:
    """`path label` lists of both splits; the first video of each is there, empty."""
    files = {split: (folder / f"{split}.txt").open("w") for split in ("train", "val")}
    for row in range(rows):
        split = "val" if row % VAL == 0 else "train"
        path = f"videos/class_{row % CLASSES}/{row:011d}.mp4"
        if row < 2:
            (folder / path).parent.mkdir(parents=True)
            (folder / path).touch()
        files[split].write(f"{path} {row % CLASSES}\n")
    for file in files.values():
        file.close()


def timed(form: str, data: Path, out: Path) -> None:
    """Wall seconds and processor seconds of the command."""
    named = os.fspath(data), "--out", os.fspath(out)
    command = [sys.executable, "-m", "expander.cli", "data", "index", *named]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    begun = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(f"{form:12}{seconds:8.2f}{used:8.2f}")


if __name__ == "__main__":
    main()
