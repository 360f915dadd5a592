"""Kernels run from Python at the price of one call, in torch's number of threads.

Numba's own way into a kernel takes tens of microseconds for a dozen arrays, and a second thread would
have to wait for Python before it can begin. Here the arguments become a row of numbers, and a piece of
machine code, made once a kernel and process, takes them from there: no Python until all is done.
"""

from __future__ import annotations

import array
import ctypes
import functools
import itertools
import struct
from collections.abc import Callable
from typing import Any

import torch
from llvmlite import ir
from numba.core import types
from numba.core.compiler_lock import global_compiler_lock
from torch import Tensor

from expander.kernels.allocator import keep_freed

SMALL = 1 << 15  # numbers of the first array, below which a second thread does not pay
SHARES = 4  # of the work for each thread, so that one that started late gets less
KINDS = {torch.float32: types.float32, torch.float64: types.float64}
INT = ir.IntType(64)
Entry = Callable[[int], None]
CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
TAKEN, COUNT, ITEMS, FIRST = range(4)  # of the row: shares taken, shares, items, the first argument

_entries: dict[tuple[Any, torch.dtype], Entry] = {}


def launch(kernel: Any, items: int, *arguments: Tensor | float) -> None:
    """kernel(*arguments, start, stop) over all of range(items).

    Tensors are contiguous and of one kind; the kernel sees their memory as flat arrays. A number is a
    float at every call, or an int at every call. What an item writes depends on no other item, so that the
    result is the same for any number of threads. Kernels raise nothing.
    """
    first = arguments[0]
    assert isinstance(first, Tensor)
    key = kernel, first.dtype
    if key not in _entries:
        _entries[key] = _entry(kernel, KINDS[first.dtype], arguments)
    threads = min(torch.get_num_threads(), items) if first.numel() >= SMALL else 1
    parallel = _parallel() if threads > 1 else None
    shares = 1 if parallel is None else min(items, SHARES * threads)
    row = array.array("q", (0, shares, items))
    for argument in arguments:
        if isinstance(argument, Tensor):
            assert argument.dtype is first.dtype
            assert argument.is_contiguous()
            row.extend((argument.data_ptr(), argument.numel()))
        elif isinstance(argument, int):
            row.append(argument)
        else:
            row.frombytes(struct.pack("d", argument))
    if parallel is None:
        _entries[key](row.buffer_info()[0])
    else:
        parallel(_entries[key], row.buffer_info()[0], threads, 0)


@functools.cache
def _parallel() -> Any:
    """OpenMP's entry to a parallel region, of the very library whose threads torch uses.

    Threads of our own would compete with torch's, which spin for a while after each of its operators.
    None where torch uses another library (not on Linux): kernels then run in one thread.
    """
    try:
        entry = ctypes.CDLL("libgomp.so.1").GOMP_parallel
    except (OSError, AttributeError):
        return None
    entry.argtypes = CALL, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint
    entry.restype = None
    return entry


def _entry(kernel: Any, kind: Any, arguments: tuple[Tensor | float, ...]) -> Entry:
    """`void entry(row)`, which does shares of the work while there are any."""
    keep_freed()  # before the first kernel runs: results of the same sizes follow, step after step
    of_array = types.Array(kind, 1, "C")
    kinds = (of_array if isinstance(argument, Tensor) else types.intp if isinstance(argument, int)
             else types.float64 for argument in arguments)  # fmt: skip
    signature = *kinds, types.intp, types.intp
    kernel.compile(signature)
    made = kernel.overloads[signature]
    address = made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
    called = kernel.targetctx.call_conv.get_function_type(made.fndesc.restype, made.fndesc.argtypes)
    with global_compiler_lock:
        name = f"entry.{made.fndesc.llvm_func_name}"  # all kernels' code shares one table of names
        library = kernel.targetctx.codegen().create_library(name)
        module = library.create_ir_module(name)
        _define(name, module, address, called, signature)
        library.add_ir_module(module)
        library.finalize()
        return CALL(library.get_pointer_to_function(name))


def _define(name: str, module: Any, address: int, called: Any, signature: tuple[Any, ...]) -> None:
    """The function `name` of a module: takes the next share until none is left, calls the kernel for it."""
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), [INT.as_pointer()]), name)
    (row,) = entry.args
    begin, take, work, end = (entry.append_basic_block(name) for name in ("begin", "take", "work", "end"))
    builder = ir.IRBuilder(begin)

    def at(place: int) -> Any:
        return builder.gep(row, [ir.Constant(INT, place)])

    count, items = builder.load(at(COUNT)), builder.load(at(ITEMS))
    result, raised = (builder.alloca(kind.pointee) for kind in called.args[:2])
    values = list(_values(lambda place: builder.load(at(place)), signature[:-2]))
    builder.branch(take)
    builder.position_at_end(take)
    share = builder.atomic_rmw("add", at(TAKEN), ir.Constant(INT, 1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", share, count), work, end)
    builder.position_at_end(work)
    bounds = [builder.sdiv(builder.mul(items, number), count)
              for number in (share, builder.add(share, ir.Constant(INT, 1)))]  # fmt: skip
    given = [_as(builder, value, kind)
             for value, kind in zip((*values, *bounds), called.args[2:], strict=True)]  # fmt: skip
    kernel = builder.inttoptr(ir.Constant(INT, address), called.as_pointer())
    builder.call(kernel, [result, raised, *given])  # its status says what it raised: kernels raise nothing
    builder.branch(take)
    ir.IRBuilder(end).ret_void()


def _values(load: Any, signature: tuple[Any, ...]) -> Any:
    """The numbers that numba passes for each argument: of an array seven, of anything else itself."""
    place = itertools.count(FIRST)
    for kind in signature:
        if not isinstance(kind, types.Array):
            yield load(next(place))
            continue
        data, size, width = load(next(place)), load(next(place)), ir.Constant(INT, kind.dtype.bitwidth // 8)
        none = ir.Constant(INT, 0)
        yield from (none, none, size, width, data, size, width)  # no owner; size and stride of one dimension


def _as(builder: Any, value: Any, kind: Any) -> Any:
    """64 bits as what they are."""
    if isinstance(kind, ir.PointerType):
        return builder.inttoptr(value, kind)
    return value if kind == INT else builder.bitcast(value, kind)
