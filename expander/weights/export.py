"""Weights in the forms that others read, each proved on the spot: its logits against ours.

Libraries get a checkpoint as they write it; torch.export (.pt2) and ONNX a graph whose batch size is
free and whose clip length and crop are those of the spec.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from expander.errors import EnvironmentFault, ExpanderError, disk_faults
from expander.model.network import X3D
from expander.specs.spec import Spec
from expander.weights.checkpoint_file import open_checkpoint
from expander.weights.convert import to_library, to_ours
from expander.weights.key_map import LIBRARIES

FORMS = (*LIBRARIES, "torch-export", "onnx")
TOLERANCE = 1e-4
"""The largest difference of a logit, relative to the largest logit, that an export may have."""

Logits = Callable[[Tensor], Tensor]


def export(network: X3D, spec: Spec, form: str, path: Path) -> float:
    """Writes `network` to `path` in one of FORMS, whole or not at all; the largest relative difference.

    Raises EnvironmentFault when the file cannot be written or a package is missing, ExpanderError
    when the written file does not give our logits.
    """
    network = network.eval()
    with disk_faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
            temporary = Path(folder, path.name)
            logits = _WRITERS.get(form, _library)(network, spec, temporary, form)
            worst = max(_difference(network, logits, spec, clips) for clips in (1, 3))
            if not worst <= TOLERANCE:
                raise ExpanderError(f"{path}: not kept: the {form} export is {worst:.1e} off the network")
            os.replace(temporary, path)
    return worst


@torch.inference_mode()
def _difference(network: X3D, logits: Logits, spec: Spec, clips: int) -> float:
    generator = torch.Generator().manual_seed(0)
    clip_NCTHW = torch.randn(clips, 3, spec.frames, spec.crop, spec.crop, generator=generator)
    ours = network(clip_NCTHW)
    return float((logits(clip_NCTHW) - ours).abs().max() / ours.abs().max().clamp_min(1e-6))


def _library(network: X3D, spec: Spec, path: Path, form: str) -> Logits:
    """Proved by reading the file back; that the names are the library's is for the tests."""
    library = LIBRARIES[form]
    rest: dict[str, Any] = {"meta": {}} if form == "mmaction2" else {"epoch": 0}
    torch.save({library.container: to_library(network, spec, library), **rest}, path)
    back = X3D(spec).eval()
    back.load_state_dict(to_ours(open_checkpoint(path), spec, library, str(path)))
    return back


def _example(spec: Spec) -> tuple[tuple[Tensor], dict[str, dict[int, object]]]:
    """An example batch and which of its sizes are free."""
    # Of two clips: an example of one would fix the batch size to one.
    example = torch.zeros(2, 3, spec.frames, spec.crop, spec.crop)
    return (example,), {"x_NCTHW": {0: torch.export.Dim("batch", min=1)}}


def _torch_export(network: X3D, spec: Spec, path: Path, _: str) -> Logits:
    example, free = _example(spec)
    program = torch.export.export(network, example, dynamic_shapes=free)
    with path.open("wb") as file:
        torch.export.save(program, file)
    return torch.export.load(io.BytesIO(path.read_bytes())).module()


def _onnx(network: X3D, spec: Spec, path: Path, _: str) -> Logits:
    try:
        import onnxruntime
        import onnxscript  # noqa: F401 (torch.onnx needs it)
    except ImportError as error:
        raise EnvironmentFault(f"{error.name} is missing: pip install 'expander[onnx]'") from None
    example, free = _example(spec)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")  # of the exporter's own parts
        program = torch.onnx.export(
            network, example, dynamic_shapes=free, dynamo=True, verbose=False,
            input_names=["clips"], output_names=["logits"],
        )  # fmt: skip
        assert program is not None
        program.save(path, external_data=False)
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda clip: torch.from_numpy(session.run(None, {name: clip.numpy()})[0])


_WRITERS = {"torch-export": _torch_export, "onnx": _onnx}
