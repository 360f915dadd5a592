"""A random network on disk, as a user has one."""

from __future__ import annotations

from pathlib import Path

import torch

from expander.config.settings import Task
from expander.config.space import dump_spec
from expander.model.detector import network_of
from expander.model.network import X3D
from expander.specs.spec import Base, Spec
from expander.weights.safetensors_file import save_weights

SPEC = Spec(Base(2, 8, 32, 8, (1, 2), 32, 24))


def saved(
    folder: Path, classes: tuple[str, ...], spec: Spec = SPEC, multi_label: bool = False,
    task: Task = "classification",
) -> X3D:  # fmt: skip
    """net.yaml and net.safetensors of a random network."""
    torch.manual_seed(0)
    network = network_of(spec.with_classes(len(classes)), task)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm3d):
            torch.nn.init.ones_(module.weight)
    (folder / "net.yaml").write_text(dump_spec(spec, "a network"))
    file = folder / "net.safetensors"
    save_weights(file, network, spec.with_classes(len(classes)), classes, multi_label=multi_label,
                 task=task)  # fmt: skip
    return network.eval()
