"""In a worker: a trial whose files are kept in a store, and which runs in a folder that ends with it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from expander.backends.ray_scratch import Scratch, sweep
from expander.backends.ray_warnings import FILE
from expander.data.store import objects
from expander.data.store.patience import WISH, Ended
from expander.errors import ExpanderError, disk_faults
from expander.runs.journal import STOP
from expander.runs.machine import cache_folder
from expander.runs.names import below
from expander.runs.orders import TrialOrder
from expander.training.proxy.trial_folder import Keep, Stopped, on_disk, stop_file

HOST = os.uname().nodename
PREFIX = f"trial-{len(HOST)}-{HOST}-"
"""A home folder may be that of several machines: each looks after its own. No prefix begins another."""
LOOK = 2.0
"""Seconds between two questions whether the run was asked to stop."""
END = 1.0
"""Seconds that a last question may take: who is interrupted does not wait for a store that is away."""


def weights_only(name: str) -> bool:
    """What a trial needs of its parent."""
    return name == "weights.safetensors"


@contextlib.contextmanager
def at_hand(order: TrialOrder) -> Iterator[tuple[TrialOrder, Keep]]:
    """The order as a trial is run here, and what keeps what it has written. What it leaves is kept too.

    Earlier attempts of the trial and its parent's weights are there; once the run is asked to stop, so is the
    file that says it. Raises EnvironmentFault, Stopped.
    """
    if not order.store:
        yield order, on_disk
        return
    WISH.file = stop_file(order)  # until the trial has its own
    place = cache_folder() / "trials"
    sweep(place, PREFIX)
    with disk_faults(place, "made"):
        place.mkdir(parents=True, exist_ok=True)
        scratch = Scratch(place, PREFIX)
    trials, there = scratch.folder / "trials", f"{order.store}/trials"
    try:
        trials.mkdir()
        # On the machine where the search was called its own file says it, without the store.
        (trials / STOP).symlink_to(stop_file(order))
        if order.trial.parent:
            parent = objects.Copy(below(trials, order.trial.parent), f"{there}/{order.trial.parent}")
            parent.fetch(weights_only)
        own = objects.Copy(below(trials, order.trial.folder), f"{there}/{order.trial.folder}")
        own.fetch(lambda name: not weights_only(name))
        with _followed(trials / STOP, f"{there}/{STOP}", own):
            yield replace(order, folder=str(scratch.folder)), own.push
            own.push()
    except Ended:
        raise Stopped from None
    finally:
        scratch.delete()


@contextlib.contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """Has a thread at `work`, which ends once its event is set. A silent store keeps its own."""
    done = threading.Event()
    thread = threading.Thread(target=work, args=(done,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(END)
        WISH.abandoned |= thread.is_alive()


@contextlib.contextmanager
def _followed(stop: Path, there: str, own: objects.Copy) -> Iterator[None]:
    """Looks for the wish to stop, and passes on what the trial warns of, while it runs."""

    def look() -> None:
        with contextlib.suppress(ExpanderError, OSError):  # of a store that is away a trial tells by itself
            if not stop.exists() and objects.exists(there):
                stop.unlink()
                stop.touch()
            own.push(lambda name: name == FILE, clear=False)  # the folder may be gone by now

    def follow(done: threading.Event) -> None:
        while not done.wait(LOOK):
            look()

    look()
    with beside(follow):
        yield
