"""Whether clips fit into the memory of this machine, asked before any of it is taken."""

from __future__ import annotations

import os
from pathlib import Path

from expander.errors import EnvironmentFault
from expander.specs.cost import cost
from expander.specs.spec import Spec

BYTES = 4
"""Of a number."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container says how much of the machine's memory it may take."""


def memory() -> float:
    """Bytes that this process may have at the most; infinite where the system does not say."""
    found = [float("inf")]
    try:
        found.append(float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")))
    except (OSError, ValueError):  # no such names on this system
        return found[0]
    for file in LIMITS:
        try:
            found.append(float(file.read_text()))
        except (OSError, ValueError):  # no container, or one without a limit
            continue
    return min(found)


def clip_bytes(spec: Spec) -> int:
    """Of a training clip as the network takes it."""
    return 3 * BYTES * spec.frames * spec.crop**2


def check_training(spec: Spec, clips: int) -> None:
    """Raises EnvironmentFault where a network with its gradients and a step's clips cannot be in memory."""
    needed = clips * clip_bytes(spec) + 3 * BYTES * cost(spec).params
    check_room(needed, f"a step of {clips} clips of {spec}")


def check_room(needed: float, what: str) -> None:
    """Raises EnvironmentFault with both sizes for what cannot be in memory."""
    there = memory()
    if needed > there:
        sizes = f"{needed / 1e9:,.1f} GB, and this machine has {there / 1e9:,.1f} GB of memory"
        raise EnvironmentFault(f"{what}: {sizes}; take a spec of fewer frames or pixels")
