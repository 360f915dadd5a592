"""Layers: imports only downward. Budgets: small files, small functions. Heavy libraries at home."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "expander"
MODULES = sorted(PACKAGE.rglob("*.py"))

LAYERS = [
    (0, ("errors", "published", "spec", "strict_yaml", "config", "space", "settings", "records", "bits",
         "amounts")),
    (1, ("search", "store", "data", "model", "training", "checkpoints", "evaluation", "metrics", "scores",
         "reuse", "team", "augment", "averages", "trainings", "memory", "pacing")),
    (2, ("cost", "trial", "measurement", "multiview", "summary", "inference", "latency", "course",
         "starting", "stepping", "feeding", "validating", "identity", "fitting", "rehearsal")),
    (3, ("backends",)),
    (4, ("engine", "preparation", "tries")),
    (5, ("report", "commands", "cli", "__init__")),
]
HOMES = {
    "ray": {"backends/ray_listener.py", "backends/ray_train.py", "backends/ray_tune.py",
          "backends/tracking.py"},
    "fvcore": {"cost.py"},
    "decord": {"data/readers.py"},
    "av": {"data/demux.py", "data/readers.py", "data/synthetic.py"},
    "matplotlib": {"report/charts.py", "report/confusion.py", "report/figures.py",
          "report/ink.py", "report/labels.py", "report/page.py"},
    "safetensors": {"model/checkpoint.py", "model/weights.py"},
    "onnxruntime": {"model/export.py"},
    "onnxscript": {"model/export.py"},
    "click": {"cli.py", "commands"},
    "tqdm": {"commands"},
    "pydantic": {"amounts.py", "config.py", "model/weights.py", "records.py", "report/results.py",
          "space.py", "store.py", "strict_yaml.py", "trainings.py", "tries.py"},
    "yaml": {"preparation.py", "space.py", "strict_yaml.py"},
    "tensorboardX": {"commands/metrics_log.py"},
    "jinja2": {"report/page.py"},
    "numba": {"model/compiled.py", "model/lanes.py", "model/launch.py"},
    "llvmlite": {"model/lanes.py", "model/launch.py"},
    "triton": {"model/kernels_triton.py"},
}
NO_TORCH = ("spec.py", "strict_yaml.py", "config.py", "space.py", "settings.py", "records.py", "store.py",
            "engine.py", "search", "report", "data/sampling.py", "data/annotations.py", "data/readers.py",
            "data/demux.py", "data/isolated.py", "data/verdicts.py", "data/decode.py", "data/synthetic.py",
            "data/scenes.py", "data/protocols.py", "data/held_out.py", "metrics.py", "scores.py",
            "reuse.py", "trainings.py")  # fmt: skip


def _relative(module: Path) -> str:
    return module.relative_to(PACKAGE).as_posix()


def _layer(module: str) -> int:
    top = module.split("/", maxsplit=1)[0].removesuffix(".py")
    found = [level for level, names in LAYERS if top in names]
    assert found, f"{module} belongs to no layer: add it to LAYERS"
    return found[0]


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
def test_imports_go_downward_only(module: Path) -> None:
    own = _layer(_relative(module))
    for name in _imports(module):
        target = _file_of(name) if name.startswith("expander") else None
        if target is not None:
            assert _layer(target) <= own, f"{_relative(module)} imports upward: {name}"


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
