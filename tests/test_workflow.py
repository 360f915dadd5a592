"""The workflow runs what the Makefile has, on the Pythons and systems that setup.cfg names."""

from __future__ import annotations

import configparser
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement

ROOT = Path(__file__).parent.parent
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")
WORKFLOW: dict[Any, Any] = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text())
(JOB,) = WORKFLOW["jobs"].values()
SYSTEMS = {
    "ubuntu-24.04": ("Linux", "x86_64"),
    "ubuntu-24.04-arm": ("Linux", "aarch64"),
    "macos-15": ("Darwin", "arm64"),
}


def lines(section: str, key: str) -> list[str]:
    """Of a list in setup.cfg, without comments."""
    return [line for line in SETUP[section][key].splitlines() if line and not line.startswith("#")]


def classifiers() -> list[str]:
    """What the package says of itself."""
    return lines("metadata", "classifiers")


def test_it_calls_targets_that_the_makefile_has() -> None:
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    calls = [step["run"].split() for step in JOB["steps"] if "run" in step]
    assert calls == [["make", "test"]]
    assert {target for make, *wanted in calls for target in wanted} <= targets


def test_the_code_and_the_python_are_there_before_anything_is_called() -> None:
    kinds = [step.get("uses", "run").split("@")[0] for step in JOB["steps"]]
    assert kinds == ["actions/checkout", "actions/setup-python", "run"]
    assert JOB["steps"][1]["with"]["python-version"] == "${{ matrix.python }}"
    assert JOB["runs-on"] == "${{ matrix.system }}"


def test_its_pythons_are_those_of_the_package() -> None:
    versions = JOB["strategy"]["matrix"]["python"]
    assert versions == [name.rpartition(" ")[2] for name in classifiers() if ":: Python :: 3." in name]
    assert SETUP["options"]["python_requires"] == f">={versions[0]}"


def test_its_systems_are_those_of_the_package() -> None:
    assert JOB["strategy"]["matrix"]["system"] == list(SYSTEMS)
    named = {name.rpartition(" ")[2] for name in classifiers() if name.startswith("Operating System")}
    assert {"MacOS" if name == "Darwin" else name for name, _ in SYSTEMS.values()} == named


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_package_without_a_wheel_for_a_system_is_not_asked_for_there(system: str) -> None:
    name, machine = SYSTEMS[system]
    wanted = [Requirement(line) for line in lines("options", "install_requires")]
    environment = {"platform_system": name, "platform_machine": machine}
    left_out = {one.name for one in wanted if one.marker and not one.marker.evaluate(environment)}
    assert left_out == (set() if machine == "x86_64" else {"decord", "numba"})
