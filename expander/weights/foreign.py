"""A network straight from a checkpoint of SlowFast, PyTorchVideo or MMAction2, without a file of ours."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from expander.errors import DataError
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.weights.checkpoint_file import open_network, sha256_of
from expander.weights.convert import to_ours
from expander.weights.detect import library_of
from expander.weights.safetensors_file import Loaded


def load_foreign(
    path: Path, spec: Spec, key: str | None = None, tell: Callable[[str], None] = lambda _: None
) -> Loaded:
    """The network of `spec` for the classes that the checkpoint has, which are called by their numbers.

    key: of the container, where it is not the usual one. tell: gets a line for each choice made.
    Raises DataError for a file that cannot be trusted or read, UsageError for weights of another spec.
    """
    found = open_network(path, key)
    for note in found.notes:
        tell(f"{path}: {note}")
    state = dict(found.state)
    library = library_of(state, str(path))
    bias = state.get(library.module("head.fc2") + ".bias")
    if bias is None:
        raise DataError(f"{path}: has no classifier")
    wanted = spec.with_classes(len(bias))
    network = X3D(wanted)
    network.load_state_dict(to_ours(state, wanted, library, str(path)))
    digest = sha256_of(path)
    source = {"library": library.name, "file": path.name, "sha256": digest}
    return Loaded(network.eval(), wanted, tuple(map(str, range(len(bias)))), digest, source)
