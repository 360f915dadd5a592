"""Sixteen numbers at a time: vector values for numba kernels.

Numba alone leaves it to LLVM whether a loop becomes vector code, and with a dozen arrays in it LLVM
declines. Here a vector is a value like any other: `load` and `store` take `count` <= WIDTH numbers of
a flat array (the rest is zero, or left alone), operators work number by number. float32 and float64.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.typing.templates import ConcreteTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, models, register_model

WIDTH = 16
INT32 = ir.IntType(32)
FORMATS = {"float": (32, 23, 127, 87.0, 8), "double": (64, 52, 1023, 708.0, 14)}
"""Of each kind of number: bits, those of the mantissa, exponent of 1, largest argument and terms of `exp`."""

Lowered = Callable[..., Any]


class Lanes(types.Type):  # type: ignore[misc]
    """The numba type of WIDTH numbers of `dtype`."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(name=f"Lanes({dtype})")
        self.dtype = dtype


@register_model(Lanes)
class LanesModel(models.PrimitiveModel):  # type: ignore[misc]
    """Kept in one vector register (LLVM splits it where registers are narrower)."""

    def __init__(self, manager: Any, kind: Lanes) -> None:
        element = manager.lookup(kind.dtype).get_value_type()
        super().__init__(manager, kind, ir.VectorType(element, WIDTH))


KINDS = tuple(Lanes(dtype) for dtype in (types.float32, types.float64))


def _constant(kind: Any, value: Any) -> Any:
    return ir.Constant(kind, [value] * WIDTH)


def _spread(builder: Any, scalar: Any) -> Any:
    """One number in every lane."""
    empty = ir.Constant(ir.VectorType(scalar.type, WIDTH), ir.Undefined)
    first = builder.insert_element(empty, scalar, ir.Constant(INT32, 0))
    return builder.shuffle_vector(first, empty, _constant(ir.VectorType(INT32, WIDTH), 0))


def _mask(builder: Any, count: Any) -> Any:
    """True in the first `count` lanes."""
    steps = ir.Constant(ir.VectorType(INT32, WIDTH), list(range(WIDTH)))
    return builder.icmp_signed("<", steps, _spread(builder, builder.trunc(count, INT32)))


def _address(context: Any, builder: Any, kind: Any, array: Any, index: Any) -> Any:
    return builder.gep(context.make_array(kind)(context, builder, array).data, [index])


def _masked(builder: Any, verb: str, vector: Any, arguments: list[Any]) -> Any:
    bits = FORMATS[str(vector.element)][0]
    result = vector if verb == "load" else ir.VoidType()
    kind = ir.FunctionType(result, [argument.type for argument in arguments])
    name = f"llvm.masked.{verb}.v{WIDTH}f{bits}.p0"
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), arguments)


@intrinsic  # type: ignore[untyped-decorator]
def load(_: Any, array: Any, index: Any, count: Any) -> tuple[Any, Lowered]:  # noqa: ARG001
    """load(array, index, count): array[index : index + count], zeros after them."""
    kind = Lanes(array.dtype)

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = context.get_value_type(kind)
        place = _address(context, builder, sig.args[0], args[0], args[1])
        place = builder.bitcast(place, vector.as_pointer())
        align = ir.Constant(INT32, context.get_abi_sizeof(vector.element))
        mask = _mask(builder, args[2])
        return _masked(builder, "load", vector, [place, align, mask, ir.Constant(vector, None)])

    return kind(array, types.intp, types.intp), lower


@intrinsic  # type: ignore[untyped-decorator]
def store(_: Any, array: Any, index: Any, count: Any, lanes: Any) -> tuple[Any, Lowered]:  # noqa: ARG001
    """store(array, index, count, lanes): array[index : index + count] = the first `count` lanes."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        vector = args[3].type
        place = _address(context, builder, sig.args[0], args[0], args[1])
        place = builder.bitcast(place, vector.as_pointer())
        align = ir.Constant(INT32, context.get_abi_sizeof(vector.element))
        _masked(builder, "store", vector, [args[3], place, align, _mask(builder, args[2])])
        return context.get_dummy_value()

    return types.void(array, types.intp, types.intp, lanes), lower


@intrinsic  # type: ignore[untyped-decorator]
def spread(_: Any, array: Any, value: Any) -> tuple[Any, Lowered]:
    """spread(array, value): the number in every lane, of the array's kind."""

    def lower(context: Any, builder: Any, sig: Any, args: Any) -> Any:
        return _spread(builder, context.cast(builder, args[1], sig.args[1], array.dtype))

    return Lanes(array.dtype)(array, value), lower


@intrinsic  # type: ignore[untyped-decorator]
def at_least(_: Any, lanes: Any, floor: Any) -> tuple[Any, Lowered]:
    """at_least(lanes, floor): the larger one in each lane; NaN stays NaN, as in torch.relu."""

    def lower(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return builder.select(builder.fcmp_ordered("<", args[0], args[1]), args[1], args[0])

    return lanes(lanes, floor), lower


@intrinsic  # type: ignore[untyped-decorator]
def where_positive(_: Any, tested: Any, lanes: Any) -> tuple[Any, Lowered]:
    """where_positive(tested, lanes): `lanes` where `tested` is positive (or NaN), else 0."""

    def lower(_: Any, builder: Any, __: Any, args: Any) -> Any:
        zero = ir.Constant(args[0].type, None)
        return builder.select(builder.fcmp_ordered("<=", args[0], zero), zero, args[1])

    return lanes(tested, lanes), lower


@intrinsic  # type: ignore[untyped-decorator]
def exp(_: Any, lanes: Any) -> tuple[Any, Lowered]:
    """exp(lanes), to the last bits of its kind; beyond the range of normal numbers the last normal one."""

    def lower(_: Any, builder: Any, __: Any, args: Any) -> Any:
        kind = args[0].type
        bits, mantissa, bias, limit, terms = FORMATS[str(kind.element)]
        whole = ir.VectorType(ir.IntType(bits), WIDTH)
        low, high = _constant(kind, -limit), _constant(kind, limit)
        x = builder.select(builder.fcmp_ordered("<", args[0], low), low, args[0])
        x = builder.select(builder.fcmp_ordered(">", x, high), high, x)
        scaled = builder.fmul(x, _constant(kind, 1 / math.log(2)))
        name, signs = f"llvm.rint.v{WIDTH}f{bits}", ir.FunctionType(kind, [kind])
        nearest = cgutils.get_or_insert_function(builder.module, signs, name)
        power = builder.call(nearest, [scaled])
        rest = builder.fmul(builder.fsub(scaled, power), _constant(kind, math.log(2)))
        result = _constant(kind, 1 / math.factorial(terms - 1))
        for term in range(terms - 2, -1, -1):  # Horner, of the Taylor series at 0
            result = builder.fadd(builder.fmul(result, rest), _constant(kind, 1 / math.factorial(term)))
        exponent = builder.add(builder.fptosi(power, whole), _constant(whole, bias))
        factor = builder.bitcast(builder.shl(exponent, _constant(whole, mantissa)), kind)
        return builder.fmul(result, factor)

    return lanes(lanes), lower


def _operator(symbol: Any, instruction: str) -> None:
    @infer_global(symbol)
    class Typing(ConcreteTemplate):  # type: ignore[misc]
        cases = [signature(kind, kind, kind) for kind in KINDS]

    @lower_builtin(symbol, Lanes, Lanes)  # type: ignore[untyped-decorator]
    def lower(_: Any, builder: Any, __: Any, args: Any) -> Any:
        return getattr(builder, instruction)(*args)


for _symbol, _instruction in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
    (operator.truediv, "fdiv"),
):
    _operator(_symbol, _instruction)
