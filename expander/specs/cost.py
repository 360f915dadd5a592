"""What a spec costs, in closed form, in microseconds; `profiling.count` proves it with fvcore.

Counted as in the X3D paper: multiply-adds of convolutions and linears (SE's included), one per
multiply-add; parameters all, BN's included; activations are the outputs of those layers (pycls,
fvcore). All of one view at the spec's frames, at the training crop unless another is given.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from expander.specs.cost_kinds import Cost
from expander.specs.spec import SE_RATIO, Spec, round_width


@dataclass(frozen=True, slots=True)
class Layer:
    """The cost of one operator of one stage, summed over the stage's blocks.

    norm_params: those of `params` that are its batch norm's.
    """

    stage: str
    operator: str
    macs: int
    params: int
    norm_params: int
    activations: int


def _conv(
    stage: str, name: str, outputs: int, fan_in: int, positions: int, count: int = 1,
    norm: int = 0, bias: int = 0,
) -> Layer:  # fmt: skip
    """`count` convolutions of `outputs` channels at `positions` places each; norm, bias: more parameters."""
    weights, active = outputs * fan_in, outputs * positions
    params = count * (weights + norm + bias)
    return Layer(stage, name, count * weights * positions, params, count * norm, count * active)


def _half(size: int) -> int:
    """A 3x3 convolution of stride 2 and padding 1 on `size` pixels."""
    return (size + 1) // 2


def layers(spec: Spec, crop: int | None = None, boxes: int | None = None) -> Iterator[Layer]:
    """Every operator of every stage, from the stem to the head, at `crop` pixels (default: training).

    boxes: of action detection, how many persons a view has; none: of classification.
    """
    times = 1 if boxes is None else boxes
    frames, size = spec.frames, _half(crop or spec.crop)
    stem, positions = spec.stem_width, frames * size * size
    yield _conv("stem", "conv_xy", stem, 3 * 9, positions)
    yield _conv("stem", "conv_t", stem, 5, positions, norm=2 * stem)
    width = stem
    for index, (out, inner) in enumerate(zip(spec.widths, spec.inner_widths, strict=True)):
        keeps = boxes is not None and index == len(spec.depths) - 1
        after = size if keeps else _half(size)
        yield from _stage(f"stage{index + 1}", width, out, inner, spec.depths[index], frames, size, after)
        width, size = out, after
    last, hidden = spec.inner_widths[-1], spec.base.head_width
    yield _conv("head", "conv", last, width, frames * size * size, norm=2 * last)
    yield _conv("head", "fc1", hidden, last, times)
    yield _conv("head", "fc2", spec.base.classes, hidden, times, bias=spec.base.classes)


def _stage(
    name: str, width: int, out: int, inner: int, depth: int, frames: int, size: int, smaller: int
) -> Iterator[Layer]:
    """A stage of `depth` blocks on `size` pixels; its first block makes them `smaller`."""
    before, after = frames * size * size, frames * smaller * smaller
    squeezed = round_width(inner * SE_RATIO, 8)
    with_se, rest = (depth + 1) // 2, depth - 1
    yield _conv(name, "shortcut", out, width, after, norm=2 * out)
    yield _conv(name, "conv_a (first)", inner, width, before, norm=2 * inner)
    yield _conv(name, "conv_a (rest)", inner, out, after, rest, norm=2 * inner)
    yield _conv(name, "conv_b", inner, 27, after, depth, norm=2 * inner)
    yield _conv(name, "se.fc1", squeezed, inner, 1, with_se, bias=squeezed)
    yield _conv(name, "se.fc2", inner, squeezed, 1, with_se, bias=inner)
    yield _conv(name, "conv_c", out, inner, after, depth, norm=2 * out)


def cost(spec: Spec, crop: int | None = None, boxes: int | None = None) -> Cost:
    """Multiply-adds, parameters and activations of one view of a spec; boxes: see `layers`.

    RoIAlign is outside the count, as pooling is.
    """
    macs = params = activations = 0
    for layer in layers(spec, crop, boxes):
        macs += layer.macs
        params += layer.params
        activations += layer.activations
    return Cost(macs, params, activations)


def params_without_norm(spec: Spec) -> int:
    """Parameters but those of batch norm, as the published tables count them."""
    return sum(layer.params - layer.norm_params for layer in layers(spec))
