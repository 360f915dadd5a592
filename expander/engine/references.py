"""What a person types for a spec or a run, to the thing itself."""

from __future__ import annotations

from pathlib import Path

from expander.config.reading import is_there
from expander.config.settings import DataConfig, Task
from expander.config.space import load_spec
from expander.engine.loop import started
from expander.errors import DataError, UsageError
from expander.runs.events import StepChosen
from expander.runs.journal import Run
from expander.runs.names import below
from expander.runs.trials import trial_prefix
from expander.specs.spec import Spec
from expander.training.training_folder import TrainingFolder

RUNS = Path("runs")


def find_run(name: str) -> Run:
    """A run by its name below runs/, or by its folder. Raises UsageError when there is none."""
    for folder in (RUNS / name, Path(name)):
        run = Run(folder)
        if is_there(run.journal):
            return run
    raise UsageError(f"no run {name!r} in {RUNS}/ and no run folder of that name")


def find_training(name: str) -> TrainingFolder | None:
    """A full training by its name below runs/, or by its folder; none when there is none."""
    folders = (TrainingFolder(RUNS / name), TrainingFolder(Path(name)))
    return next((folder for folder in folders if folder.exists()), None)


def find_spec(text: str) -> Spec:
    """SPEC: a YAML file, a published name (x3d_s), RUN, RUN:step3 or RUN:final; or TRAINING."""
    name, colon, step = text.partition(":")
    if training := find_training(name):
        return training.read().spec
    if text.endswith((".yaml", ".yml")) or not (colon or _is_run(name)):
        return load_spec(text)
    run, which = find_run(name), step or "final"
    file, chosen = below(run.folder / "specs", f"{which}.yaml"), _chosen(run)
    if not file.exists() and which not in chosen:
        known = ", ".join(sorted(path.stem for path in file.parent.glob("*.yaml"))) or "none yet"
        raise UsageError(f"run {name} has no spec {which!r}; it has: {known}")
    spec = load_spec(str(file)) if file.exists() else chosen[which].winner.spec
    if which in chosen and spec != chosen[which].winner.spec:
        raise DataError(f"{file}: is not the spec that {run.journal} says was chosen; delete the file")
    return spec


def _chosen(run: Run) -> dict[str, StepChosen]:
    """The decisions of a run by `step3` and the like; the last one is `final` too."""
    found = {f"step{event.step}": event for event in run.events() if isinstance(event, StepChosen)}
    return {**found, "final": list(found.values())[-1]} if found else {}


def find_weights(text: str) -> Path:
    """A weights file, those of a training (TRAINING, its best; TRAINING:last), or those of a run's chosen
    candidate: RUN, RUN:final or RUN:step3 (its first seed's).

    Raises UsageError when there is no such run or step, DataError when its weights are gone.
    """
    name, _, step = text.partition(":")
    if training := find_training(name):
        return _trained(training, step or "best")
    if text.endswith(".safetensors") or not _is_run(name):
        return Path(text)
    run = find_run(name)
    chosen = _chosen(run)
    if (which := step or "final") not in chosen:
        known = ", ".join(key for key in chosen if key != "final") or "none yet"
        raise UsageError(f"run {name} has no decided step {which!r}; it has: {known}")
    event = chosen[which]
    trial = f"{trial_prefix(event.step, event.winner.axis)}seed*-{event.winner.spec.id}"
    found = sorted(run.folder.glob(f"trials/{trial}/weights.safetensors"))
    if not found:
        raise DataError(f"{run.folder}/trials/{trial}: no weights; they were deleted or not copied")
    return found[0]


def home_of(reference: str) -> Path | None:
    """The folder of the run or training that RUN, RUN:step3 or TRAINING names; none when there is none."""
    name = reference.partition(":")[0]
    if training := find_training(name):
        return training.folder
    return find_run(name).folder if _is_run(name) else None


def data_of(reference: str) -> DataConfig | None:
    """The data settings of the run or training that a reference names."""
    name = reference.partition(":")[0]
    if training := find_training(name):
        return training.read().data
    return started(find_run(name)).data if _is_run(name) else None


def task_of(reference: str) -> Task:
    """The task of the run or training that a reference names; that of anything else is classification."""
    name = reference.partition(":")[0]
    if training := find_training(name):
        return training.read().task
    return started(find_run(name)).problem.task if _is_run(name) else "classification"


def dilation_of(reference: str) -> int:
    """That of the run or training for detection which a reference names; 1 where it has none."""
    name = reference.partition(":")[0]
    if training := find_training(name):
        return training.read().recipe.dilation
    return started(find_run(name)).problem.space.proxy.dilation if _is_run(name) else 1


def _trained(training: TrainingFolder, which: str) -> Path:
    if which not in ("best", "last"):
        raise UsageError(f"{training.folder} is a training: it has :best and :last, not :{which}")
    file = training.best if which == "best" else training.last
    if not is_there(file):
        when = "the first validation (best) and the end (last)"
        raise DataError(f"{file}: no weights yet; they come with {when}")
    return file


def _is_run(name: str) -> bool:
    return is_there(Run(RUNS / name).journal) or is_there(Run(Path(name)).journal)
