"""torch.load of checkpoints that hold more than tensors: plain records become blanks, all else is refused.

Training libraries write numpy numbers, paths, argument records and log buffers beside the network. Here
each of those names stands for a blank of ours: it takes whatever the file says it is made of, keeps nothing
and runs nothing, neither of the file nor of the library. A name that is not in the tables is refused by
torch (`weights_only=True`).
"""

from __future__ import annotations

import re
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

UNKNOWN = re.compile(r"(?:Unsupported global: GLOBAL|unsupported GLOBAL) (\S+)")
"""How torch names the object that it refuses."""


class Blank:
    """What a record in a checkpoint becomes: nothing is kept of it.

    instead: what becomes of a dict or a queue of a library's own class, whose items are plain values again;
    torch puts items only into its own kinds of them.
    """

    instead: type | None = None

    def __new__(cls, *_: Any, **__: Any) -> Any:
        """Whatever the record is made of is left where it is."""
        return super().__new__(cls) if cls.instead is None else cls.instead()

    def __setstate__(self, _: Any) -> None:
        """See pickle."""


NUMPY = tuple(f"numpy.{core}.{name}" for core in ("core", "_core")
              for name in ("multiarray.scalar", "multiarray._reconstruct", "numeric._frombuffer"))
PATHS = tuple(f"{module}.{name}" for module in ("pathlib", "pathlib._local")
              for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path"))
OMEGACONF = ("base.ContainerMetadata", "base.Metadata", "dictconfig.DictConfig", "listconfig.ListConfig",
             "nodes.AnyNode", "nodes.BooleanNode", "nodes.FloatNode", "nodes.IntegerNode",
             "nodes.StringNode")  # fmt: skip
TYPES = ("bool", "dict", "float", "int", "list", "set", "str", "tuple")
RECORDS = (
    *NUMPY, "numpy.dtype", "numpy.ndarray", *PATHS, *(f"omegaconf.{name}" for name in OMEGACONF),
    *(f"builtins.{name}" for name in TYPES), "typing.Any",
    "builtins.getattr",  # methods in a log buffer; what it gives is blank too, and to call that is refused
    "argparse.Namespace", "types.SimpleNamespace", "torch.torch_version.TorchVersion",
    "datetime.date", "datetime.datetime", "datetime.time", "datetime.timedelta", "datetime.timezone",
    "mmengine.logging.history_buffer.HistoryBuffer",
)  # fmt: skip
"""Objects without a network in them, by their full names."""
DICTS = (
    "collections.defaultdict", "addict.addict.Dict", "easydict.EasyDict",
    "mmengine.config.config.ConfigDict", "mmcv.utils.config.ConfigDict",
    "fvcore.common.config.CfgNode", "yacs.config.CfgNode",
    "lightning.fabric.utilities.data.AttributeDict", "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
)  # fmt: skip
"""Dicts of a class of their own; a network may be in them."""
LISTS = ("collections.deque",)

BLANKS: tuple[tuple[type[Blank], str], ...] = tuple(
    (type(name.rpartition(".")[2], (Blank,), {"__doc__": name, "instead": instead}), name)
    for instead, names in ((None, RECORDS), (OrderedDict, DICTS), (list, LISTS)) for name in names
)  # fmt: skip


def load_plain(path: Path) -> Any:
    """What is in the file, on the CPU: tensors, plain values and blanks. Raises as torch.load does."""
    with torch.serialization.safe_globals(list(BLANKS)):
        return torch.load(path, map_location="cpu", weights_only=True)


def refused_object(error: BaseException) -> str | None:
    """The full name of the object for which torch refused a file, printable; none: another reason."""
    found = UNKNOWN.search(str(error))
    return ascii(found[1])[1:-1][:80] if found else None
