"""PyTorchVideo's X3D, the other implementation that tests compare with (part of the test extra)."""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types

from torch import nn

from expander.specs.spec import Spec


def create_x3d(spec: Spec, crop: int) -> nn.Module:
    """The network of `spec`, logits out, its pooling made for clips of `crop` pixels."""
    if "torchvision" not in sys.modules and importlib.util.find_spec("torchvision") is None:
        # It imports torchvision for RoIAlign only, which X3D never uses.
        package, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
        ops.RoIAlign = nn.Identity  # type: ignore[attr-defined]
        sys.modules.update({"torchvision": package, "torchvision.ops": ops})
    from pytorchvideo.models.x3d import create_x3d as create

    network: nn.Module = create(
        input_clip_length=spec.frames,
        input_crop_size=crop,
        model_num_class=spec.base.classes,
        width_factor=2.0 * spec.width,  # counted from a base of 12 there
        depth_factor=spec.depth,
        bottleneck_factor=spec.bottleneck,
        head_activation=None,
    )
    return network


def pytorchvideo_part(name: str) -> types.ModuleType:
    """A module of PyTorchVideo such as `transforms.functional`, without what its package imports beside it.

    Both packages, data and transforms, import torchvision for data sets and augmentations.
    """
    import pytorchvideo

    package = f"pytorchvideo.{name.partition('.')[0]}"
    if package not in sys.modules:
        bare = types.ModuleType(package)
        bare.__path__ = [f"{pytorchvideo.__path__[0]}/{name.partition('.')[0]}"]
        sys.modules[package] = bare
    return importlib.import_module(f"pytorchvideo.{name}")
