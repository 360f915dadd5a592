"""Packages import downward only. Budgets: small files, small functions. Heavy libraries at home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "expander"
MODULES = sorted(PACKAGE.rglob("*.py"))

ORDER = ("errors", "metrics", "specs", "config", "runs", "search", "kernels", "video", "data", "model",
         "profiling", "weights", "training", "evaluation", "backends", "engine", "report", "api", "cli",
         "__init__")  # fmt: skip
"""Packages from the lowest: each imports those before it only."""
HOMES = {
    "ray": {"backends"},
    "fvcore": {"profiling/count.py"},
    "decord": {"video/jumping.py"},
    "av": {"video/writing/encoder.py", "video/probe.py", "video/readers.py", "video/writing/writer.py",
           "data/embedded/making.py"},
    "matplotlib": {"engine/answers.py", "report"},
    "safetensors": {"weights/checkpoint_file.py", "weights/safetensors_file.py"},
    "onnxruntime": {"weights/export.py"},
    "onnxscript": {"weights/export.py"},
    "click": {"cli"},
    "tqdm": {"cli"},
    "pydantic": {"config", "engine/comparisons.py", "report/results.py", "runs",
                 "training/training_folder.py", "weights/safetensors_file.py"},
    "yaml": {"config", "engine/preparation.py"},
    "tensorboardX": {"training/metrics_log.py"},
    "jinja2": {"report/page.py"},
    "numba": {"kernels"},
    "llvmlite": {"kernels"},
    "triton": {"kernels"},
    "torchvision": {"model/roi_align.py"},
}  # fmt: skip
NO_TORCH = ("specs", "config", "runs", "search", "report", "engine/loop.py", "data/annotations.py",
            "data/embedded", "data/formats.py", "data/prepared", "data/shards", "data/sources.py",
            "data/store", "data/test_list.py",
            "evaluation/scores.py", "metrics", "training/training_folder.py",
            "video/decoder.py", "video/jumping.py", "video/tar_members.py", "video/probe.py",
            "video/jump_proof", "video/view_protocols.py", "video/writing/encoder.py",
            "video/readers.py", "video/sampling.py", "video/verdict_cache.py", "video/worker.py")  # fmt: skip
PURE = ("os", "pathlib", "shutil", "tempfile", "time", "datetime", "subprocess", "socket",
        "expander.runs.journal")
"""What the search may not import: it decides from values alone, not from a clock or a disk."""


def _relative(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def _package(module: str) -> int:
    """The place in ORDER of a file's package."""
    top = module.split("/", maxsplit=1)[0].removesuffix(".py")
    assert top in ORDER, f"{module} belongs to no package: add it to ORDER"
    return ORDER.index(top)


def _imports(module: Path) -> Iterator[str]:
    """Every imported module, wherever in the file it is imported."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{module}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(name: str) -> str | None:
    """The file of a module of ours, relative to the package."""
    path = PACKAGE.joinpath(*name.split(".")[1:])
    if path.with_suffix(".py").exists() and name != "expander":
        return _relative(path.with_suffix(".py"))
    return None


@pytest.mark.parametrize("module", MODULES, ids=_relative)
def test_imports_go_to_the_same_package_or_to_lower_ones(module: Path) -> None:
    here = _relative(module)
    for name in _imports(module):
        target = _file_of(name) if name.startswith("expander") else None
        if target is not None and target.split("/")[0] != here.split("/", maxsplit=1)[0]:
            assert _package(target) < _package(here), f"{here} imports upward: {name}"


def test_modules_import_each_other_without_a_cycle() -> None:
    graph = {_relative(module): {found for name in _imports(module) if (found := _file_of(name))}
             for module in MODULES}  # fmt: skip
    TopologicalSorter(graph).prepare()  # raises CycleError with the cycle


@pytest.mark.parametrize("module", sorted(PACKAGE.glob("search/*.py")), ids=_relative)
def test_the_search_knows_no_clock_and_no_disk(module: Path) -> None:
    assert not set(PURE) & set(_imports(module))


@pytest.mark.parametrize("folder", sorted({module.parent for module in MODULES}), ids=_relative)
def test_no_package_has_more_than_eighteen_files(folder: Path) -> None:
    assert len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) <= 18
    if folder == PACKAGE:
        assert {path.name for path in folder.glob("*.py")} <= {"__init__.py", "errors.py"}


@pytest.mark.parametrize("module", MODULES, ids=_relative)
def test_libraries_are_imported_in_their_own_files_only(module: Path) -> None:
    here = _relative(module)
    for name in _imports(module):
        homes = HOMES.get(name.split(".")[0])
        if homes is not None:
            assert any(here == home or here.startswith(f"{home}/") for home in homes), f"{here}: {name}"


@pytest.mark.parametrize("module", MODULES, ids=_relative)
def test_the_pure_and_the_reading_parts_do_not_import_torch(module: Path) -> None:
    here = _relative(module)
    if any(here == part or here.startswith(f"{part}/") for part in NO_TORCH):
        assert not [name for name in _imports(module) if name.split(".")[0] == "torch"]


SCRIPTS = sorted([*ROOT.glob("analysis/*.py"), *ROOT.glob("benchmarks/*.py")])


@pytest.mark.parametrize("module", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: path.name)
def test_tests_stay_within_their_budget(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= 300


@pytest.mark.parametrize("module", [*MODULES, *SCRIPTS], ids=lambda path: path.name)
def test_files_and_functions_stay_within_their_budgets(module: Path) -> None:
    text = module.read_text()
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno < 50, f"{module}:{node.lineno} {node.name}"


@pytest.mark.parametrize("module", MODULES, ids=_relative)
def test_every_public_name_has_a_docstring(module: Path) -> None:
    tree = ast.parse(module.read_text())
    assert ast.get_docstring(tree) or not tree.body, _relative(module)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{_relative(module)}:{node.lineno} {node.name}"
