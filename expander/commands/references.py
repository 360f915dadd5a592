"""What a person types for a spec or a run, to the thing itself."""

from __future__ import annotations

from pathlib import Path

from expander.errors import DataError, UsageError
from expander.records import StepChosen
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


def find_weights(text: str) -> Path:
    """A weights file, or those of a run's chosen candidate: RUN, RUN:final or RUN:step3 (its first seed's).

    Raises UsageError when there is no such run or step, DataError when its weights are gone.
    """
    name, _, step = text.partition(":")
    if text.endswith(".safetensors") or not _is_run(name):
        return Path(text)
    run = find_run(name)
    chosen = {f"step{event.step}": event for event in run.events() if isinstance(event, StepChosen)}
    if not chosen or step not in ("", "final", *chosen):
        known = ", ".join(chosen) or "none yet"
        raise UsageError(f"run {name} has no decided step {step or 'final'!r}; it has: {known}")
    event = chosen[step] if step in chosen else list(chosen.values())[-1]
    trial = f"s{event.step:02d}-{event.winner.axis}-seed*-{event.winner.spec.id}"
    found = sorted(run.folder.glob(f"trials/{trial}/weights.safetensors"))
    if not found:
        raise DataError(f"{run.folder}/trials/{trial}: no weights; they were deleted or not copied")
    return found[0]


def is_run(reference: str) -> bool:
    """Whether RUN, RUN:step3 or RUN:final names a run that is there."""
    return _is_run(reference.partition(":")[0])


def _is_run(name: str) -> bool:
    return Run(RUNS / name).exists() or Run(Path(name)).exists()
