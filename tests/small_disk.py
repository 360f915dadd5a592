"""`data prepare` onto a disk that is too small, then read-only. `unshare -rm python small_disk.py OPTIONS…`.

Mounts a file system in memory over ./disk, in a namespace of its own, with OPTIONS that prepare into it. It
grows until all fits; then it takes no more writing while a source changes. Prints what was said as JSON.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from full_disk import call

SMALLEST, GROWTH, MOST = 16, 1.25, 40
"""Kilobytes, and of how many sizes one must suffice."""


def mount(how: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", how, "none", "disk"], check=True)


def refused(options: list[str]) -> str:
    """The one line that is said; empty where it ends well."""
    code, told = call(options)
    assert "Traceback" not in told, told
    assert told.count("error: ") == (code != 0), told
    assert code in (0, 6), (code, told)
    assert not list(Path("disk").rglob(".*draft"))
    return told.strip().splitlines()[-1] if code else ""


def go(options: list[str], source: Path) -> dict[str, list[str]]:
    size, small = float(SMALLEST), list[str]()
    mount(f"size={SMALLEST}k")
    while said := refused(options):
        small.append(said)
        assert len(small) < MOST, small
        size *= GROWTH
        mount(f"remount,size={size:.0f}k")
    content, state = source.read_bytes(), source.stat()
    source.write_bytes(source.with_name("1.mp4").read_bytes())
    mount(f"remount,ro,size={size:.0f}k")
    fixed = [refused(options)]
    mount(f"remount,rw,size={2 * size:.0f}k")
    source.write_bytes(content)
    os.utime(source, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert not refused(options)
    subprocess.run(["cp", "-r", "disk/.", "copy"], check=True)
    return {"small": small, "fixed": fixed}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(go(sys.argv[1:], Path("films/train/wave/2.mp4"))))
