"""StoredBackend: where the search was called, for trials whose files are kept in a store.

Any backend runs them. What they say of themselves is fetched into the run's folder while they run, and what a
trial leaves before its outcome is told: all that reads a run finds there what it finds on a shared disk. The
store has what is under way alone; what is over is deleted from it.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from pathlib import Path

from expander.backends.base import Backend, Report
from expander.backends.stored_trial import LOOK, beside
from expander.data.store import objects, remote
from expander.data.store.patience import WISH
from expander.errors import EnvironmentFault, ExpanderError
from expander.runs.events import StepChosen, TrialFailed, TrialFinished
from expander.runs.journal import STOP, Run
from expander.runs.names import trial_name
from expander.runs.orders import TrialOrder, parent_weights
from expander.runs.trials import TrialFailure, TrialResult

STOP_LOOK = 0.2
"""Seconds between two looks for the file that asks for a stop."""
LEAVE = 3.0
"""Seconds that deleting what is over may take once the run is stopped; what is left goes when it goes on."""


class StoredBackend:
    """Trials by another backend, with their files in the store that their orders name."""

    def __init__(self, inner: Backend) -> None:
        self.inner = inner
        self.run_folder, self.store = Path(), ""
        self.over: set[str] = set()

    def __enter__(self) -> StoredBackend:
        self.inner.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self.inner.__exit__(*error)
        if not self.store or isinstance(error[1], EnvironmentFault):  # it would stay away for the sweep too
            return
        # In a thread, for who stops the run does not wait for a store that is away.
        thread = threading.Thread(target=self._leave, daemon=True)
        thread.start()
        stopped = error[0] is not None or (self.run_folder / "trials" / STOP).exists()
        thread.join(LEAVE if stopped else None)
        WISH.abandoned |= thread.is_alive()

    def _leave(self) -> None:
        with contextlib.suppress(ExpanderError):  # the run is as good with what is over
            self._sweep()

    def run(self, orders: Sequence[TrialOrder], report: Report) -> None:
        """See backends.base.Backend. Raises EnvironmentFault for a store that stays away or refuses."""
        self.run_folder, self.store = Path(orders[0].folder), orders[0].store
        self._sweep()
        objects.delete(f"{self.store}/trials/{STOP}")
        trials = self.run_folder / "trials"
        for order in {order.trial.parent: order for order in orders if order.trial.parent}.values():
            file = parent_weights(trials, order.trial)
            # As the journal knows them; that they are there the search has seen.
            objects.put(f"{self.store}/trials/{file.parent.name}/{file.name}", file.read_bytes())
        names = {order.trial.id: order.trial.folder for order in orders}
        whole = {order.trial.id for order in orders if order.trial.until is None}
        mirror = _Mirror(trials, f"{self.store}/trials", set(names.values()))

        def fetched(outcome: TrialResult | TrialFailure) -> None:
            mirror.bring(names[outcome.trial])
            report(outcome)
            if outcome.trial in whole:
                self.over.add(names[outcome.trial])

        with beside(mirror.follow):
            self.inner.run(orders, fetched)

    def _sweep(self) -> None:
        """Deletes from the store what nobody goes on from: trials that are over, rungs of decided steps."""
        done, events = set(self.over), Run(self.run_folder).events()
        decided = {event.step for event in events if isinstance(event, StepChosen)}
        for event in events:
            if isinstance(event, TrialFinished | TrialFailed):
                outcome = event.result if isinstance(event, TrialFinished) else event.failure
                name = trial_name(outcome.trial)
                if name is not None and (name.until is None or event.step in decided):
                    done.add(name.folder)
        with contextlib.suppress(FileNotFoundError):
            for entry in remote.listed(f"{self.store}/trials"):
                if entry.name in done:
                    objects.delete(f"{self.store}/trials/{entry.name}", folder=True)


class _Mirror:
    """The trials of a run here, as they are in a store. running: names of folders that are looked at."""

    def __init__(self, trials: Path, store: str, running: set[str]) -> None:
        self.stop, self.running = trials / STOP, running
        self.copy = objects.Copy(trials, store)
        self.lock = threading.Lock()

    def bring(self, folder: str) -> None:
        """What a trial that is over leaves, but its checkpoints. Raises EnvironmentFault."""
        with self.lock:
            self.running.discard(folder)
            objects.Copy(self.copy.folder / folder, f"{self.copy.address}/{folder}").fetch(
                lambda name: not name.startswith(objects.CHECKPOINTS)
            )

    def follow(self, done: threading.Event) -> None:
        """Looks for the wish to stop, here, and for news of trials, there, until it is done."""
        asked, since = False, 0.0
        while not done.wait(STOP_LOOK):
            with contextlib.suppress(ExpanderError):  # of a store that is away the library tells
                if not asked and self.stop.exists():
                    objects.put(f"{self.copy.address}/{STOP}", b"")
                    asked = True
                since += STOP_LOOK
                if since >= LOOK:
                    since = 0.0
                    with self.lock:
                        self.copy.fetch(self._news)

    def _news(self, name: str) -> bool:
        """Small files of trials that run: rows, warnings, who tries, and how far checkpoints have come."""
        folder, _, rest = name.partition("/")
        return folder in self.running and not rest.endswith((".pt", ".safetensors"))
