"""Weights of a network as safetensors, with the spec and the class names in the header."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors.torch import save

from expander.model.network import X3D
from expander.spec import Spec
from expander.store import write_atomic


def save_weights(path: Path, network: X3D, spec: Spec, classes: tuple[str, ...]) -> None:
    """Writes the state of `network`, whole or not at all. Raises EnvironmentFault."""
    # One entry: the library writes several in an order that changes from call to call.
    metadata = {"expander": json.dumps({"spec": asdict(spec), "classes": classes}, sort_keys=True)}
    state = {name: value.detach().cpu().contiguous() for name, value in network.state_dict().items()}
    write_atomic(path, save(state, metadata))
