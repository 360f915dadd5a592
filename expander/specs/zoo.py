"""What is published of the networks in search_spaces/zoo: costs and accuracies to set beside ours.

Sources: X3D (arXiv 2004.04730) for the costs; the model zoos of SlowFast, PyTorchVideo and of both
generations of MMAction2 for the accuracies on Kinetics-400, top-1 in %, as each says for its own test.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Published:
    """gmacs: G multiply-adds of a view at the training crop. test_gmacs: at the test crop.

    params: million, without batch norm. top1: Kinetics-400, by (source, views).
    """

    gmacs: float
    params: float
    test_gmacs: float | None = None
    top1: dict[tuple[str, int], float] = field(default_factory=dict)


def _top1(
    pytorchvideo: float, others: dict[str, tuple[float, float]]
) -> dict[tuple[str, int], float]:
    """pytorchvideo: of 30 views. others: by source, of 10 views and of 30."""
    found = {(source, views): top1 for source, pair in others.items()
             for views, top1 in zip((10, 30), pair, strict=True)}  # fmt: skip
    return found | {("pytorchvideo", 30): pytorchvideo}


PUBLISHED = {
    "x2d": Published(0.02067, 1.63),
    "x3d_xs": Published(0.60, 3.76, None, _top1(69.12, {"slowfast": (68.7, 69.5)})),
    "x3d_s": Published(1.96, 3.76, None, _top1(73.33, {
        "slowfast": (73.1, 73.5), "mmaction2": (73.2, 73.3), "mmaction2-0.x": (72.7, 73.2),
    })),
    "x3d_m": Published(4.73, 3.76, 6.2, _top1(75.94, {
        "slowfast": (75.1, 76.2), "mmaction2": (75.2, 76.4), "mmaction2-0.x": (75.0, 75.6),
    })),
    "x3d_l": Published(18.37, 6.08, 24.8, _top1(77.44, {"slowfast": (76.9, 77.5)})),
    "x3d_xl": Published(35.84, 11.0, 48.4),
}  # fmt: skip
