"""The published accuracy that stands beside a test's: of the same network, views and protocol."""

from __future__ import annotations

import pytest

from expander.cli.test import published_text
from expander.config.space import load_spec
from expander.evaluation.multiview import Average
from expander.evaluation.result import reference
from expander.specs.spec import Base, Spec
from expander.video.view_protocols import MMACTION2, Protocol, Views

SMALL = Spec(Base(4, 6, 64, 8, (1, 1, 1, 1), 32, 5))


@pytest.mark.parametrize(("protocol", "average", "comparable"), [
    ("mmaction2-0.x", "prob", True), ("mmaction2-0.x", "score", False), ("expander", "prob", False),
])  # fmt: skip
def test_a_published_accuracy_says_which_protocol_it_belongs_to(
    protocol: Protocol, average: Average, comparable: bool
) -> None:
    row = reference(load_spec("x3d_m"), Views(10, 3), protocol, average)
    assert row is not None
    assert (row["protocol"], row["average_clips"], row["comparable"]) == ("mmaction2-0.x", "prob", comparable)
    text = published_text(row)
    assert "75.6% top-1 on Kinetics-400 (x3d_m, 30 views, protocol mmaction2-0.x, prob averaged" in text
    assert ("not to be compared" in text) != comparable


def test_the_published_accuracy_of_the_same_network_and_views_stands_beside() -> None:
    s, m = load_spec("x3d_s"), load_spec("x3d_m")
    assert reference(s, Views(10, 1), "mmaction2-0.x") == {
        "model": "x3d_s", "source": "mmaction2-0.x", "views": 10, "data": "Kinetics-400", "top1": 0.727,
        "protocol": "mmaction2-0.x", "average_clips": "prob", "comparable": True,
    }  # fmt: skip
    tops = {"mmaction2": [0.732, 0.733, 0.752, 0.764], "mmaction2-0.x": [0.727, 0.732, 0.75, 0.756]}
    for name in MMACTION2:
        rows = [reference(spec, Views(10, crops), name) for spec in (s, m) for crops in (1, 3)]
        assert [row["top1"] for row in rows if row and row["source"] == name] == tops[name]
    published = {(spec, protocol): reference(spec, Views(10, 3), protocol) for spec in (s, m)
                 for protocol in ("expander", "slowfast", "pytorchvideo")}  # fmt: skip
    assert [row["top1"] for row in published.values() if row] == [0.732, 0.735, 0.7333, 0.756, 0.762, 0.7594]
    assert reference(s, Views(5, 1), "slowfast") is reference(SMALL, Views(10, 1), "slowfast") is None
    assert reference(s.with_classes(10), Views(10, 1), "slowfast") is None
