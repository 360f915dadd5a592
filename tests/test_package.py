"""The package as users install it: a wheel and an editable install, search spaces included."""

from __future__ import annotations

import configparser
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CHECK = (
    "import expander, expander.config.space as s; print(expander.__file__); "
    "s.recipe_file('x3d').read_text(); "
    "print(s.load_space('x3d').step_factor, s.load_spec('x3d_s').frames)"
)


def test_every_package_is_installed() -> None:
    """Nothing else looks at the list: an editable install finds what is not in it."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    listed = set(config["options"]["packages"].split())
    found = (ROOT / "expander").rglob("__init__.py")
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in found}
    assert there <= listed
    assert listed - there == {"expander.recipes", "expander.search_spaces", "expander.search_spaces.zoo"}


@pytest.mark.slow
@pytest.mark.parametrize("editable", [False, True], ids=["wheel", "editable"])
def test_an_installed_package_finds_its_search_spaces_and_its_command(tmp_path: Path, editable: bool) -> None:
    source = tmp_path / "source"
    wanted = ("expander", "search_spaces", "recipes", "setup.cfg", "pyproject.toml", "README.md")
    for name in wanted:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        source.mkdir(exist_ok=True)
        copy(ROOT / name, source / name)
    python = _environment(tmp_path / "venv")
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet", "--no-deps",
           "--no-build-isolation", "--no-index"]  # fmt: skip
    subprocess.run([*pip, *(["-e"] if editable else []), str(source)], check=True, cwd=tmp_path)
    seen = subprocess.run([python, "-c", CHECK], check=True, capture_output=True, text=True, cwd=tmp_path)
    assert (str(source) if editable else str(tmp_path / "venv")) in seen.stdout
    assert seen.stdout.endswith("2.0 13\n")
    command = python.parent / "expander"
    call = [command, "cost", "x3d_s"]
    cost = subprocess.run(call, check=True, capture_output=True, text=True, cwd=tmp_path)
    assert "1,962,892,112" in cost.stdout
    (tmp_path / "run").mkdir()
    shutil.copy(ROOT / "tests" / "assets" / "journal-v1.jsonl", tmp_path / "run" / "journal.jsonl")
    call = [command, "report", "run", "--format", "html", "--out", "page.html"]
    subprocess.run(call, check=True, cwd=tmp_path)
    assert "prefers-color-scheme" in (tmp_path / "page.html").read_text()


def _environment(folder: Path) -> Path:
    """A virtual environment that sees this one's libraries, but not the expander installed in it."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    query = [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    site = Path(subprocess.run(query, check=True, capture_output=True, text=True).stdout.strip())
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python
