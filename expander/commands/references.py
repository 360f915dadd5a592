"""What a person types for a spec or a run, to the thing itself."""

from __future__ import annotations

from pathlib import Path

from expander.errors import UsageError
from expander.space import load_spec
from expander.spec import Spec
from expander.store import Run

RUNS = Path("runs")


def find_run(name: str) -> Run:
    """A run by its name below runs/, or by its folder. Raises UsageError when there is none."""
    for folder in (RUNS / name, Path(name)):
        run = Run(folder)
        if run.exists():
            return run
    raise UsageError(f"no run {name!r} in {RUNS}/ and no run folder of that name")


def find_spec(text: str) -> Spec:
    """SPEC: a YAML file, a published name (x3d_s), RUN, RUN:step3 or RUN:final."""
    name, colon, step = text.partition(":")
    if text.endswith((".yaml", ".yml")) or not (colon or _is_run(name)):
        return load_spec(text)
    run = find_run(name)
    file = run.folder / "specs" / f"{step or 'final'}.yaml"
    if not file.exists():
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml"))) or "none yet"
        raise UsageError(f"run {name} has no spec {step or 'final'!r}; it has: {known}")
    return load_spec(str(file))


def _is_run(name: str) -> bool:
    return Run(RUNS / name).exists() or Run(Path(name)).exists()
