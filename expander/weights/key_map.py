"""Names of the same tensors in SlowFast, PyTorchVideo and MMAction2: one table, used both ways.

Our blocks and stages count from 0; `{stage}` and `{block}` are filled in as each library counts.
PyTorchVideo names the two convolutions of its stem the wrong way round, and has no batch norm on the
shortcut of the first stage (`absent`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from expander.specs.spec import Spec

CONV, LINEAR = ("weight",), ("weight", "bias")
NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
PARTS = {
    # ours: its state, SlowFast's name, PyTorchVideo's, MMAction2's
    "stem.conv_xy": (CONV, "s1.pathway0_stem.conv_xy", "blocks.0.conv.conv_t", "backbone.conv1_s.conv"),
    "stem.conv_t": (CONV, "s1.pathway0_stem.conv", "blocks.0.conv.conv_xy", "backbone.conv1_t.conv"),
    "stem.bn": (NORM, "s1.pathway0_stem.bn", "blocks.0.norm", "backbone.conv1_t.bn"),
    "shortcut.conv": (CONV, "branch1", "branch1_conv", "downsample.conv"),
    "shortcut.bn": (NORM, "branch1_bn", "branch1_norm", "downsample.bn"),
    "conv_a": (CONV, "branch2.a", "branch2.conv_a", "conv1.conv"),
    "bn_a": (NORM, "branch2.a_bn", "branch2.norm_a", "conv1.bn"),
    "conv_b": (CONV, "branch2.b", "branch2.conv_b", "conv2.conv"),
    "bn_b": (NORM, "branch2.b_bn", "branch2.norm_b.0", "conv2.bn"),
    "conv_c": (CONV, "branch2.c", "branch2.conv_c", "conv3.conv"),
    "bn_c": (NORM, "branch2.c_bn", "branch2.norm_c", "conv3.bn"),
    "se.fc1": (LINEAR, "branch2.se.fc1", "branch2.norm_b.1.block.0", "se_module.fc1"),
    "se.fc2": (LINEAR, "branch2.se.fc2", "branch2.norm_b.1.block.2", "se_module.fc2"),
    "head.conv": (CONV, "head.conv_5", "blocks.5.pool.pre_conv", "backbone.conv5.conv"),
    "head.bn": (NORM, "head.conv_5_bn", "blocks.5.pool.pre_norm", "backbone.conv5.bn"),
    "head.fc1": (CONV, "head.lin_5", "blocks.5.pool.post_conv", "cls_head.fc1"),
    "head.fc2": (LINEAR, "head.projection", "blocks.5.proj", "cls_head.fc2"),
}  # fmt: skip
"""Every module with a state: what its state is called, and the module's name in each library."""


@dataclass(frozen=True, slots=True)
class Library:
    """How a library calls the modules of PARTS.

    first_stage: its number of our stage 0. container: the checkpoint's key of the state. absent:
    modules it does not have, as we call them.
    """

    name: str
    container: str
    first_stage: int
    block: str
    modules: dict[str, str]
    absent: frozenset[str] = field(default_factory=frozenset)

    def module(self, part: str, stage: int = 0, block: int = 0) -> str:
        """The name of a module; stage and block as we count them."""
        prefix = "" if part.startswith(("stem.", "head.")) else self.block
        number = stage + self.first_stage
        return (prefix + self.modules[part]).format(stage=number, block=block)

    @property
    def anchors(self) -> tuple[str, str]:
        """Two keys that every network of the library has, and those of the others have not."""
        return f"{self.module('stem.conv_t')}.weight", f"{self.module('conv_a')}.weight"

    def owns(self, key: str) -> bool:
        """Whether a key begins as those of the library's networks do."""
        roots = {_root(self.module(part)) for part in PARTS}
        return _root(key) in roots


def _root(key: str) -> str:
    """The first part of a key, without the number of a stage."""
    return key.partition(".")[0].rstrip("0123456789")


def _modules(column: int) -> dict[str, str]:
    return {part: names[column] for part, (_, *names) in PARTS.items()}


SLOWFAST = Library("slowfast", "model_state", 2, "s{stage}.pathway0_res{block}.", _modules(0))
PYTORCHVIDEO = Library("pytorchvideo", "model_state", 1, "blocks.{stage}.res_blocks.{block}.", _modules(1),
                       frozenset({"stages.0.0.shortcut.bn"}))  # fmt: skip
MMACTION2 = Library("mmaction2", "state_dict", 1, "backbone.layer{stage}.{block}.", _modules(2))
LIBRARIES = {library.name: library for library in (SLOWFAST, PYTORCHVIDEO, MMACTION2)}


def _places(spec: Spec) -> Iterator[tuple[str, str, int, int]]:
    """Every module of the network of `spec`: our name, its part, stage and block."""
    for part in PARTS:
        if part.startswith(("stem.", "head.")):
            yield part, part, 0, 0
    for stage, depth in enumerate(spec.depths):
        for block in range(depth):
            for part in PARTS:
                first_only, with_se = part.startswith("shortcut."), part.startswith("se.")
                if part.startswith(("stem.", "head.")) or (first_only and block) or (with_se and block % 2):
                    continue
                yield f"stages.{stage}.{block}.{part}", part, stage, block


def names(spec: Spec, library: Library) -> dict[str, str]:
    """From our key to the library's, of every tensor that both have."""
    return {
        f"{ours}.{suffix}": f"{library.module(part, stage, block)}.{suffix}"
        for ours, part, stage, block in _places(spec)
        if ours not in library.absent
        for suffix in PARTS[part][0]
    }
