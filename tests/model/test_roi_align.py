"""RoIAlign against its definition, sample by sample, and its gradient against differences."""

from __future__ import annotations

import math
import sys
import types
import warnings
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from expander.model.roi_align import by_torchvision, roi_align, torchvisions


def bilinear(plane_HW: Tensor, y: float, x: float) -> float:
    """Between the four cells around a place; those beyond a cell outside of the map are 0."""
    height, width = plane_HW.shape
    if y < -1 or y > height or x < -1 or x > width:
        return 0.0
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    top, left = math.floor(y), math.floor(x)
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    upper = plane_HW[top, left] * (left + 1 - x) + plane_HW[top, right] * (x - left)
    lower = plane_HW[bottom, left] * (left + 1 - x) + plane_HW[bottom, right] * (x - left)
    return float(upper * (top + 1 - y) + lower * (y - top))


def one_bin(plane_HW: Tensor, box: list[float], place: tuple[int, int], bins: int, samples: int) -> float:
    """The mean over the samples of a bin; box: in cells, half a cell subtracted."""
    x1, y1, x2, y2 = box
    down, across = (y2 - y1) / bins, (x2 - x1) / bins
    rows, columns = (samples or math.ceil(size) for size in (down, across))
    found = [
        bilinear(plane_HW, y1 + (place[0] + (i + 0.5) / rows) * down,
                 x1 + (place[1] + (j + 0.5) / columns) * across)
        for i in range(rows) for j in range(columns)
    ]  # fmt: skip
    return sum(found) / max(1, len(found))


def by_definition(x: Tensor, boxes: Tensor, clips: Tensor, bins: int, scale: float, samples: int) -> Tensor:
    """All of them, a number at a time."""
    out = torch.zeros(len(boxes), x.shape[1], bins, bins, dtype=x.dtype)
    for k, (box, clip) in enumerate(zip(boxes.tolist(), clips.tolist(), strict=True)):
        cells = [value * scale - 0.5 for value in box]
        for c in range(x.shape[1]):
            for i in range(bins):
                for j in range(bins):
                    out[k, c, i, j] = one_bin(x[clip, c], cells, (i, j), bins, samples)
    return out


def random_boxes(count: int, width: float, height: float, seed: int) -> Tensor:
    """Some of them partly outside of the picture."""
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(count, 4, generator=generator, dtype=torch.float64) * 1.4 - 0.2
    low, high = torch.minimum(share[:, :2], share[:, 2:]), torch.maximum(share[:, :2], share[:, 2:])
    return torch.cat([low, high], 1) * torch.tensor([width, height, width, height], dtype=torch.float64)


@pytest.mark.parametrize("samples", [0, 1, 2, 3])
@pytest.mark.parametrize(("height", "width"), [(9, 14), (1, 5)])
def test_random_boxes_are_cut_out_as_defined(samples: int, height: int, width: int) -> None:
    torch.manual_seed(samples)
    x = torch.randn(3, 2, height, width, dtype=torch.float64)
    boxes = random_boxes(12, width * 16, height * 16, samples)
    clips = torch.randint(3, (12,))
    found = roi_align(x, boxes, clips, 4, 1 / 16, samples)
    torch.testing.assert_close(found, by_definition(x, boxes, clips, 4, 1 / 16, samples), rtol=0, atol=1e-9)
    single = roi_align(x.float(), boxes, clips, 4, 1 / 16, samples)
    torch.testing.assert_close(single.double(), found, rtol=0, atol=1e-5)


def test_half_a_cell_is_subtracted_so_that_a_box_around_a_cell_gives_the_cell() -> None:
    x = torch.arange(35.0).view(1, 1, 5, 7)
    box = torch.tensor([[3.0, 2, 4, 3]])
    assert roi_align(x, box, torch.tensor([0]), 1, 1.0).item() == x[0, 0, 2, 3]
    assert roi_align(x, box * 16, torch.tensor([0]), 1, 1 / 16).item() == x[0, 0, 2, 3]


def test_a_whole_ramp_is_cut_into_its_means() -> None:
    ramp = torch.arange(8.0).expand(1, 1, 8, 8)
    found = roi_align(ramp, torch.tensor([[0.0, 0, 8, 8]]), torch.tensor([0]), 4, 1.0)
    expected = torch.tensor([0.5, 2.5, 4.5, 6.5]).expand(1, 1, 4, 4)  # means of cells 0 and 1, 2 and 3, ...
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_no_boxes_give_no_features_and_a_box_without_area_gives_zeros() -> None:
    x = torch.ones(1, 3, 4, 4)
    assert roi_align(x, torch.zeros(0, 4), torch.zeros(0, dtype=torch.long), 7, 1.0).shape == (0, 3, 7, 7)
    flat = roi_align(x, torch.tensor([[2.0, 1, 2, 3]]), torch.tensor([0]), 7, 1.0)
    assert torch.equal(flat, torch.zeros(1, 3, 7, 7))


def test_the_gradient_is_that_of_differences() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 2, 5, 6, dtype=torch.float64, requires_grad=True)
    boxes, clips = random_boxes(4, 96, 80, 5), torch.tensor([0, 1, 1, 0])
    assert torch.autograd.gradcheck(lambda x: roi_align(x, boxes, clips, 3, 1 / 16), x)


@pytest.mark.parametrize("autocast", [False, True])
def test_in_bfloat16_boxes_stay_where_they_are(autocast: bool) -> None:
    torch.manual_seed(0)
    x, boxes = torch.randn(2, 3, 14, 14).bfloat16(), random_boxes(40, 224, 224, 7).float()
    clips = torch.arange(40) % 2
    precise = roi_align(x.float(), boxes, clips, 7, 1 / 16)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        found = roi_align(x, boxes, clips, 7, 1 / 16)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, precise.bfloat16(), rtol=0, atol=0)  # rounded at the end alone


def imports() -> bool:
    """Whether there is a torchvision here; what other tests put in its place is none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from torchvision.ops import roi_align  # noqa: F401
    except (ImportError, OSError, RuntimeError, AttributeError):  # of one built for another torch, too
        return False
    return True


@pytest.mark.skipif(not imports(), reason="torchvision cannot be imported")
@pytest.mark.parametrize("samples", [0, 2])
@pytest.mark.parametrize(
    ("kind", "autocast", "tolerance"),
    [(torch.float64, False, 1e-12), (torch.float32, False, 1e-5), (torch.bfloat16, False, 0.01),
     (torch.bfloat16, True, 0.01)],
)  # fmt: skip
def test_torchvisions_operator_gives_the_same(
    samples: int, kind: torch.dtype, autocast: bool, tolerance: float
) -> None:
    torch.manual_seed(samples)
    x = torch.randn(2, 3, 9, 14).to(kind).requires_grad_()
    boxes, clips = random_boxes(20, 224, 144, 1), torch.arange(20) % 2
    weights = torch.rand(20, 3, 7, 7).to(kind)
    results = []
    for compute in (roi_align, by_torchvision):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            found = compute(x, boxes, clips, 7, 1 / 16, samples)
        results.append((found, *torch.autograd.grad((found * weights).sum(), x)))
    for ours, theirs in zip(*results, strict=True):
        assert ours.dtype == theirs.dtype == kind
        assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max()
    none = by_torchvision(x, boxes[:0], clips[:0], 7, 1 / 16)
    assert none.shape == (0, 3, 7, 7)


def test_a_cpu_computes_by_itself_whatever_is_installed() -> None:
    torchvisions.cache_clear()
    roi_align(torch.ones(1, 1, 4, 4), torch.tensor([[0.0, 0, 2, 2]]), torch.tensor([0]), 7, 1.0)
    assert torchvisions.cache_info().misses == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_a_gpu_cuts_out_what_a_cpu_does() -> None:
    x, boxes, clips = torch.randn(2, 3, 9, 14), random_boxes(20, 224, 144, 1), torch.arange(20) % 2
    found = roi_align(x.cuda(), boxes.cuda(), clips.cuda(), 7, 1 / 16)
    torch.testing.assert_close(found.cpu(), roi_align(x, boxes, clips, 7, 1 / 16), rtol=0, atol=1e-5)


def fails(*_: object, **__: object) -> None:
    raise NotImplementedError("Could not run 'torchvision::roi_align' with arguments from the 'CUDA' backend")


@pytest.mark.parametrize("case", ["of another torch", "another module", "of CPUs alone"])
def test_a_torchvision_that_does_not_work_is_passed_over_silently(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        monkeypatch.delitem(sys.modules, name)
    if case == "of another torch":
        (tmp_path / "torchvision").mkdir()
        broken = 'raise RuntimeError("operator torchvision::nms does not exist")\n'
        (tmp_path / "torchvision/__init__.py").write_text(broken)
        monkeypatch.syspath_prepend(tmp_path)
    else:
        package, ops = types.ModuleType("torchvision"), types.ModuleType("torchvision.ops")
        ops.RoIAlign = nn.Identity  # type: ignore[attr-defined]
        if case == "of CPUs alone":
            ops.roi_align = fails  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "torchvision", package)
        monkeypatch.setitem(sys.modules, "torchvision.ops", ops)
    assert torchvisions.__wrapped__("cpu") is None
    assert len(recwarn) == 0
