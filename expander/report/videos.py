"""The videos of a run, where they still are; which of them cannot be read."""

from __future__ import annotations

from pathlib import Path

from expander.config.settings import DataConfig, Task
from expander.data.embedded import detection, synthetic
from expander.data.tasks import TaskData, open_for
from expander.errors import ExpanderError
from expander.report.reader import History
from expander.runs.machine import cache_folder
from expander.video.verdict_cache import NAME, Verdicts, key_of

EARLIER = "the run was made on embedded videos of an earlier version, which are made no more"


def videos_of(past: History) -> TaskData | str:
    """The run's data set, or why it is not there; nothing is made or downloaded for it."""
    if past.start is None:
        return "the journal is empty"
    config: DataConfig = past.start.data
    task = past.start.problem.task
    if config.folder is None and config.train_ann is None and not _embedded_exists(task):
        return "the embedded videos are not on this machine; expander data make makes them"
    try:
        data = open_for(task, config, again=True)
    except (ExpanderError, OSError) as error:
        return str(error)
    if data.fingerprint != past.start.data_fingerprint:
        own = config.folder is not None or config.train_ann is not None
        return "the data set has changed since the run" if own else EARLIER
    return data


def _embedded_exists(task: Task) -> bool:
    name = f"v{synthetic.VERSION}-{synthetic.SetConfig().fingerprint}"
    if task == "detection":
        name = f"detection-v{detection.VERSION}-{detection.SceneConfig().fingerprint}"
    return any(cache_folder().glob(f"embedded-{name}-seed*"))


def quarantined(data: TaskData) -> list[tuple[str, str]]:
    """Videos that are known to be unreadable, with the reason; those never tried are not among them."""
    known = Verdicts(cache_folder() / NAME).known
    bad = {key: verdict.reason for key, verdict in known.items() if verdict.route == "bad"}
    if not bad:
        return []
    found = ((path, _key(path)) for path in (*data.train.paths, *data.val.paths))
    return [(str(path), bad[key]) for path, key in found if key in bad]


def _key(path: Path) -> str:
    try:
        return key_of(path)
    except OSError:
        return ""
