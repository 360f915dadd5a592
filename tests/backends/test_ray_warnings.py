"""What trials in Ray workers warn of, read from their folders."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from expander.backends.ray_warnings import FILE, Warnings, written

log = logging.getLogger("expander.data")


def test_each_warning_of_a_trial_is_told_once_with_its_trial_and_node(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with written(tmp_path / "s00-base"):
        log.warning("told before")
    warnings = Warnings(tmp_path)
    with written(tmp_path / "s00-base"):
        log.info("no warning")
        log.warning("100%% of %s", "it")
    with written(tmp_path / "s01-width"):
        log.warning("another")
    log.warning("of no trial")
    caplog.clear()
    warnings.tell()
    warnings.tell()
    here = f"on node {os.uname().nodename})"
    assert caplog.messages == [f"100% of it (s00-base, {here}", f"another (s01-width, {here}"]


def test_a_line_that_is_being_written_comes_when_it_is_whole(tmp_path: Path) -> None:
    warnings, file = Warnings(tmp_path), tmp_path / "t" / FILE
    file.parent.mkdir()
    file.write_text("one\ntwo")
    assert warnings.new() == ["one"]
    file.write_text("one\ntwo, whole\n")
    assert warnings.new() == ["two, whole"]
    assert warnings.new() == []


def test_a_trial_that_warns_of_nothing_leaves_no_file(tmp_path: Path) -> None:
    with written(tmp_path / "t"):
        log.info("all is well")
    assert list((tmp_path / "t").iterdir()) == []
