"""The commands and the Python of README.md and of the tutorial, run one after the other as a reader would.

A budget and a training are made smaller, by the options that end a line. Nothing else is changed. Slow.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ASSETS, Run
from pages import ROOT, blocks, fenced_commands

pytestmark = pytest.mark.slow
SMALLER = {
    "search": ["--space", str(ASSETS / "micro.yaml"), "--max-steps=1", "--set=proxy.steps=6",
               "--set=selection.seeds=1", "--set=axes.width.limit=1", "--backend=inline"],
    "train": [f"--set=train.{setting}" for setting in ("epochs=2", "batch=8", "precise_bn=0")],
}  # fmt: skip
BUDGETS = {"search": "0.0004", "contract": "0.0002"}
"""Of the small networks, in gigaflops."""


def smaller(line: str) -> list[str]:
    """The words of a command line; what it costs less is added."""
    command, *words = shlex.split(line, comments=True)[1:]
    if command in BUDGETS and "--target-gflops" in words:
        words[words.index("--target-gflops") + 1] = BUDGETS[command]
    if "--resume" not in words:
        words += SMALLER.get(command, [])
    return [command, *words]


@pytest.fixture
def home(videos: Path, tmp_path: Path) -> Path:
    """What a reader has: a folder of class folders, lists of it, a clip, the finished run."""
    shutil.copytree(videos / "videos" / "train", tmp_path / "videos")
    files = sorted((tmp_path / "videos").rglob("*.mp4"))
    classes = sorted({path.parent.name for path in files})
    for name, chosen in (("train.txt", files[::2]), ("val.txt", files[1::2])):
        rows = [f"{path.parent.name}/{path.name} {classes.index(path.parent.name)}\n" for path in chosen]
        (tmp_path / name).write_text("".join(rows))
    shutil.copy(files[0], tmp_path / "clip.mp4")
    shutil.copytree(ROOT / "runs" / "reference", tmp_path / "runs" / "reference")
    return tmp_path


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_what_a_page_tells_people_to_type_works(page: str, home: Path, expander: Run) -> None:
    text = (ROOT / page).read_text()
    for line in fenced_commands(text):
        if "--version" not in line:
            done = expander(*smaller(line))
            assert done.returncode == 0, f"{line}\n{done.stderr}"
    assert blocks(text, "python")
    for block in blocks(text, "python"):
        subprocess.run([sys.executable, "-c", block], cwd=home, check=True, stdout=subprocess.DEVNULL)
    made = ("mine.html", "report.html") if page == "README.md" else ("mine.html", "decisions.csv", "net.onnx")
    assert [name for name in made if not (home / name).stat().st_size] == []
