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
    "stem.conv_xy": CONV, "stem.conv_t": CONV, "stem.bn": NORM,
    "shortcut.conv": CONV, "shortcut.bn": NORM,
    "conv_a": CONV, "bn_a": NORM, "conv_b": CONV, "bn_b": NORM, "conv_c": CONV, "bn_c": NORM,
    "se.fc1": LINEAR, "se.fc2": LINEAR,
    "head.conv": CONV, "head.bn": NORM, "head.fc1": CONV, "head.fc2": LINEAR,
}  # fmt: skip
"""Every module with a state, and what its state is called."""


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


SLOWFAST = Library("slowfast", "model_state", 2, "s{stage}.pathway0_res{block}.", {
    "stem.conv_xy": "s1.pathway0_stem.conv_xy",
    "stem.conv_t": "s1.pathway0_stem.conv",
    "stem.bn": "s1.pathway0_stem.bn",
    "shortcut.conv": "branch1",
    "shortcut.bn": "branch1_bn",
    "conv_a": "branch2.a",
    "bn_a": "branch2.a_bn",
    "conv_b": "branch2.b",
    "bn_b": "branch2.b_bn",
    "conv_c": "branch2.c",
    "bn_c": "branch2.c_bn",
    "se.fc1": "branch2.se.fc1",
    "se.fc2": "branch2.se.fc2",
    "head.conv": "head.conv_5",
    "head.bn": "head.conv_5_bn",
    "head.fc1": "head.lin_5",
    "head.fc2": "head.projection",
})  # fmt: skip

PYTORCHVIDEO = Library("pytorchvideo", "model_state", 1, "blocks.{stage}.res_blocks.{block}.", {
    "stem.conv_xy": "blocks.0.conv.conv_t",
    "stem.conv_t": "blocks.0.conv.conv_xy",
    "stem.bn": "blocks.0.norm",
    "shortcut.conv": "branch1_conv",
    "shortcut.bn": "branch1_norm",
    "conv_a": "branch2.conv_a",
    "bn_a": "branch2.norm_a",
    "conv_b": "branch2.conv_b",
    "bn_b": "branch2.norm_b.0",
    "conv_c": "branch2.conv_c",
    "bn_c": "branch2.norm_c",
    "se.fc1": "branch2.norm_b.1.block.0",
    "se.fc2": "branch2.norm_b.1.block.2",
    "head.conv": "blocks.5.pool.pre_conv",
    "head.bn": "blocks.5.pool.pre_norm",
    "head.fc1": "blocks.5.pool.post_conv",
    "head.fc2": "blocks.5.proj",
}, frozenset({"stages.0.0.shortcut.bn"}))  # fmt: skip

MMACTION2 = Library("mmaction2", "state_dict", 1, "backbone.layer{stage}.{block}.", {
    "stem.conv_xy": "backbone.conv1_s.conv",
    "stem.conv_t": "backbone.conv1_t.conv",
    "stem.bn": "backbone.conv1_t.bn",
    "shortcut.conv": "downsample.conv",
    "shortcut.bn": "downsample.bn",
    "conv_a": "conv1.conv",
    "bn_a": "conv1.bn",
    "conv_b": "conv2.conv",
    "bn_b": "conv2.bn",
    "conv_c": "conv3.conv",
    "bn_c": "conv3.bn",
    "se.fc1": "se_module.fc1",
    "se.fc2": "se_module.fc2",
    "head.conv": "backbone.conv5.conv",
    "head.bn": "backbone.conv5.bn",
    "head.fc1": "cls_head.fc1",
    "head.fc2": "cls_head.fc2",
})  # fmt: skip

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
        for suffix in PARTS[part]
    }
