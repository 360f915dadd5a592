"""Files of many kinds, changed at random: a documented outcome in a line, no other answer, no other file.

`--fuzz 2000` tries so many inputs of each format; without it 200.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import Format, called, tried
from fuzzed_formats import formats

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Format]:
    return {form.name: form for form in formats(tmp_path_factory.mktemp("whole"))}


def test_changed_files_end_in_a_documented_line(
    every: dict[str, Format], request: pytest.FixtureRequest
) -> None:
    count = request.config.getoption("--fuzz") or 200
    wrong = {}
    for form in every.values():
        found = list(tried(form, range(count)))
        assert [number for number, _ in found] == list(range(count))
        wrong |= {(form.name, number): fault for number, fault in found if fault}
    assert wrong == {}


def test_whole_files_are_read(
    every: dict[str, Format], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or nothing would be shown by what changed ones say."""
    for form in every.values():
        home = tmp_path / form.name.replace(" ", "-").replace("/", "-")
        for name, content in form.files.items():
            (home / name).parent.mkdir(parents=True, exist_ok=True)
            (home / name).write_bytes(content)
        monkeypatch.chdir(home)
        assert called(form.run)[0] == 0, form.name


def test_what_is_wrong_is_found() -> None:
    """A reader that lets anything through, one that dies, and one that writes elsewhere."""

    def careless() -> None:
        Path("line").read_bytes().decode("ascii")

    def dying() -> None:
        if Path("line").read_bytes() != b"a line":
            os.kill(os.getpid(), signal.SIGKILL)

    def straying() -> None:
        Path("../astray").write_bytes(b"")

    def faults(run: Callable[[], object]) -> list[str]:
        form = Format("x", {"line": b"a line"}, "line", run)
        return [fault for _, fault in tried(form, range(60)) if fault]

    assert any("UnicodeDecodeError" in fault for fault in faults(careless))
    assert "it hangs or kills the process" in faults(dying)
    assert faults(straying)[0] == "it wrote ['astray']"
