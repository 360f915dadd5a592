"""What a training starts from: a new network, or the weights of another one with a new classifier."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from expander.model.detector import network_of
from expander.model.network import X3D
from expander.training.training_folder import Training
from expander.weights.safetensors_file import Loaded, load_weights

CLASSIFIER = ("head.fc2.weight", "head.fc2.bias")
PUBLISHED_HEAD = 2048
"""Width of the head that the published initialisation is meant for."""


def he_head(training: Training) -> bool:
    """Whether the head's first linear starts as He says: if the recipe is silent, in narrow heads."""
    asked = training.recipe.he_head
    return training.spec.base.head_width < PUBLISHED_HEAD if asked is None else asked


def new_network(training: Training) -> X3D:
    """The network of a training at its first step. Raises DataError or UsageError for `init`."""
    torch.manual_seed(training.seed)
    recipe = training.recipe
    network = network_of(training.spec, training.task, recipe.dropout, he_head(training), recipe.dilation)
    if training.init:
        _copy(network, load_init(training), training)
    return network


def load_init(training: Training) -> Loaded:
    """The weights that a training starts from. Raises DataError, and UsageError for another network."""
    loaded = load_weights(Path(training.init), task=None)
    if loaded.spec.sizes[3:] != training.spec.sizes[3:]:
        # Raises: it says which tensors do not fit. Clip and crop may differ, the tensors do not.
        loaded = load_weights(Path(training.init), training.spec, None)
    return loaded


def keeps_classifier(loaded: Loaded, training: Training) -> bool:
    """Whether the classes are the same: by name, or by number where the weights have no names."""
    nameless = loaded.classes == tuple(map(str, range(len(loaded.classes))))
    return loaded.classes == training.classes or (nameless and len(loaded.classes) == len(training.classes))


def _copy(network: X3D, loaded: Loaded, training: Training) -> None:
    state: dict[str, Tensor] = loaded.network.state_dict()
    if not keeps_classifier(loaded, training):
        own = network.state_dict()
        state = {name: own[name] if name in CLASSIFIER else value for name, value in state.items()}
    network.load_state_dict(state)


def started_from(training: Training) -> str:
    """What a person is told of `init`. Raises as load_init."""
    loaded = load_init(training)
    begins, own = f"starts from {training.init}", training.recipe.dilation
    if training.task == loaded.task and own != loaded.network.dilation:
        begins += f" (of dilation {loaded.network.dilation}, here {own}: train.dilation)"
    if keeps_classifier(loaded, training):
        return f"{begins}, with its classifier"
    counts = f"{len(loaded.classes)} classes in the weights, {len(training.classes)} in the data"
    if len(loaded.classes) == len(training.classes):
        counts = f"the {len(training.classes)} classes have other names"
    return f"{begins}; the classifier starts anew: {counts}"
