"""Channel-wise convolution of clips on a CPU, as kernels for numba.

Every array is flat memory of (N, T, H, W, C), weights of (taps, C). The channels are the vector; a
row of an image is walked with the three columns under the kernel in registers. Sizes: H, W of what
the convolution reads; G, V (height, width) of what it makes. A work item is a frame (of N * T), for
gradients of weights a group of frames with a sum of its own. Neighbours in time read the same rows: where
those are the larger maps, a thread takes a few rows of all of its frames before the next rows. Names in
the loops: a, h, b are the rows above, here and below; 0, 1, 2 the columns of the kernel.
"""

from __future__ import annotations

from expander.kernels.compilation import compiled, inlined
from expander.kernels.moments_numba import add_moments, clear, settle_moments
from expander.kernels.vectors import WIDTH, load, spread, store

BLOCK = 64  # positions, whole rows, of which one slice of a kernel is done at a time


@inlined
def nine(w, place, C, n):  # type: ignore[no-untyped-def]
    """The taps of one 3x3 slice of a kernel."""
    return (
        load(w, place, n), load(w, place + C, n), load(w, place + 2 * C, n),
        load(w, place + 3 * C, n), load(w, place + 4 * C, n), load(w, place + 5 * C, n),
        load(w, place + 6 * C, n), load(w, place + 7 * C, n), load(w, place + 8 * C, n),
    )  # fmt: skip


@inlined
def three(frame, h, H):  # type: ignore[no-untyped-def]
    """Row h of a frame between its neighbours, as rows of all frames; -1: no such row."""
    here = frame * H + h
    return here - 1 if h > 0 else -1, here, here + 1 if h + 1 < H else -1


@inlined
def row(x, taps, y, above, here, below, out, W, V, C, c, n, fresh, stride):  # type: ignore[no-untyped-def]
    """y[row `out`] (+)= the nine `taps` of a slice over three rows of x; -1: no such row."""
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = taps
    na, nb, ny = n if above >= 0 else 0, n if below >= 0 else 0, 0 if fresh else n
    pa, ph, pb = max(above, 0) * W * C + c, here * W * C + c, max(below, 0) * W * C + c
    to = out * V * C + c
    a0 = h0 = b0 = spread(x, 0.0)
    a1, h1, b1 = load(x, pa, na), load(x, ph, n), load(x, pb, nb)
    # The last column apart: to its right there may be none, and to ask at every column costs a third.
    for i_from, i_to, right in ((0, V - 1, 1), (V - 1, V, 1 if stride * (V - 1) + 1 < W else 0)):
        ma, mh, mb = na * right, n * right, nb * right
        for i in range(i_from, i_to):
            j = stride * i * C
            if stride == 2:
                a1, h1, b1 = load(x, pa + j, na), load(x, ph + j, n), load(x, pb + j, nb)
            j += C
            a2, h2, b2 = load(x, pa + j, ma), load(x, ph + j, mh), load(x, pb + j, mb)
            total = load(y, to + i * C, ny) + (a0 * w00 + a1 * w01 + a2 * w02)
            total = total + (h0 * w10 + h1 * w11 + h2 * w12) + (b0 * w20 + b1 * w21 + b2 * w22)
            store(y, to + i * C, n, total)
            a0, h0, b0 = (a1, h1, b1) if stride == 1 else (a2, h2, b2)
            a1, h1, b1 = a2, h2, b2


@compiled
def forward(x, w, y, sums, T, H, W, G, V, C, stride, start, stop):  # type: ignore[no-untyped-def]
    """y of x and w (27, C); the moments of every frame too, if `sums` has room for them."""
    rows, moments = max(1, BLOCK // V), len(sums) > 0
    clear(sums, start * 2 * C, (stop - start) * 2 * C if moments else 0)
    for top in range(0, G, rows):
        bottom = min(top + rows, G)
        for frame in range(start, stop):
            t = frame % T
            for tap in (1, 0, 2):
                if 0 <= t + tap - 1 < T:
                    for c in range(0, C, WIDTH):
                        n = min(WIDTH, C - c)
                        taps = nine(w, 9 * tap * C + c, C, n)
                        for g in range(top, bottom):
                            above, here, below = three(frame + tap - 1, stride * g, H)
                            out = frame * G + g
                            row(x, taps, y, above, here, below, out, W, V, C, c, n, tap == 1, stride)
            if moments:
                add_moments(y, sums, (frame * G + top) * V, (bottom - top) * V, frame * G * V, frame, C)
    for frame in range(start, stop if moments else start):
        settle_moments(y, sums, frame * G * V, frame, G * V, C)


@inlined
def weight_row(x, dy, taps, above, here, below, out, W, V, C, c, n, stride):  # type: ignore[no-untyped-def]
    """The nine `taps` + the products of row `out` of dy with three rows of x."""
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = taps
    na, nb = n if above >= 0 else 0, n if below >= 0 else 0
    pa, ph, pb = max(above, 0) * W * C + c, here * W * C + c, max(below, 0) * W * C + c
    a0 = h0 = b0 = spread(x, 0.0)
    a1, h1, b1 = load(x, pa, na), load(x, ph, n), load(x, pb, nb)
    for i_from, i_to, right in ((0, V - 1, 1), (V - 1, V, 1 if stride * (V - 1) + 1 < W else 0)):
        ma, mh, mb = na * right, n * right, nb * right
        for i in range(i_from, i_to):
            j = stride * i * C
            if stride == 2:
                a1, h1, b1 = load(x, pa + j, na), load(x, ph + j, n), load(x, pb + j, nb)
            j += C
            a2, h2, b2 = load(x, pa + j, ma), load(x, ph + j, mh), load(x, pb + j, mb)
            d = load(dy, (out * V + i) * C + c, n)
            w00, w01, w02 = w00 + d * a0, w01 + d * a1, w02 + d * a2
            w10, w11, w12 = w10 + d * h0, w11 + d * h1, w12 + d * h2
            w20, w21, w22 = w20 + d * b0, w21 + d * b1, w22 + d * b2
            a0, h0, b0 = (a1, h1, b1) if stride == 1 else (a2, h2, b2)
            a1, h1, b1 = a2, h2, b2
    return w00, w01, w02, w10, w11, w12, w20, w21, w22


@inlined
def put_nine(w, place, C, n, taps):  # type: ignore[no-untyped-def]
    """The way back of `nine`."""
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = taps
    store(w, place, n, w00)
    store(w, place + C, n, w01)
    store(w, place + 2 * C, n, w02)
    store(w, place + 3 * C, n, w10)
    store(w, place + 4 * C, n, w11)
    store(w, place + 5 * C, n, w12)
    store(w, place + 6 * C, n, w20)
    store(w, place + 7 * C, n, w21)
    store(w, place + 8 * C, n, w22)


@compiled
def weight_gradient(x, dy, dw, frames, groups, T, H, W, G, V, C, stride, start, stop):  # type: ignore[no-untyped-def]
    """dw (groups, 27, C): of the frames of each group."""
    rows = max(1, BLOCK // V)
    clear(dw, start * 27 * C, (stop - start) * 27 * C)
    for top in range(0, G, rows):
        for group in range(start, stop):
            for frame in range(group * frames // groups, (group + 1) * frames // groups):
                t = frame % T
                for tap in range(max(0, 1 - t), min(3, T + 1 - t)):
                    for c in range(0, C, WIDTH):
                        n, place = min(WIDTH, C - c), (group * 27 + 9 * tap) * C + c
                        taps = nine(dw, place, C, n)
                        for g in range(top, min(top + rows, G)):
                            above, here, below = three(frame + tap - 1, stride * g, H)
                            out = frame * G + g
                            taps = weight_row(x, dy, taps, above, here, below, out, W, V, C, c, n, stride)
                        put_nine(dw, place, C, n, taps)


@inlined
def scatter_rows(dy, taps, dx, one, other, out, below, W, V, C, c, n, fresh):  # type: ignore[no-untyped-def]
    """Rows `out` and `below` of dx (+)= what reads them at stride 2: rows `one` and `other` of dy.

    -1: no such row. Each place of dy meets four of dx, with one tap, two, two and four.
    """
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = taps
    m, nb = n if other >= 0 else 0, n if below >= 0 else 0
    nx, nbx = (0, 0) if fresh else (n, nb)
    first, second = one * V * C + c, max(other, 0) * V * C + c
    to, under = out * W * C + c, max(below, 0) * W * C + c
    left, far_left = load(dy, first, n), load(dy, second, m)
    for i_from, i_to, inside in ((0, V - 1, 1), (V - 1, V, 0)):
        o = 1 if inside == 1 else 1 - W % 2
        for i in range(i_from, i_to):
            j, even, odd = (i + 1) * C, to + 2 * i * C, under + 2 * i * C
            right, far_right = load(dy, first + j, n * inside), load(dy, second + j, m * inside)
            store(dx, even, n, load(dx, even, nx) + left * w11)
            store(dx, odd, nb, load(dx, odd, nbx) + left * w21 + far_left * w01)
            even, odd = even + C, odd + C
            store(dx, even, n * o, load(dx, even, nx * o) + right * w10 + left * w12)
            total = load(dx, odd, nbx * o) + right * w20 + left * w22
            store(dx, odd, nb * o, total + far_right * w00 + far_left * w02)
            left, far_left = right, far_right


@compiled
def scatter(dy, w, dx, T, H, W, G, V, C, start, stop):  # type: ignore[no-untyped-def]
    """The gradient dx of the input of the convolution of stride 2."""
    rows = max(1, BLOCK // V)
    for frame in range(start, stop):
        t = frame % T
        for top in range(0, G, rows):
            for tap in (1, 0, 2):
                if 0 <= t - tap + 1 < T:
                    base = (frame - tap + 1) * G
                    for c in range(0, C, WIDTH):
                        n = min(WIDTH, C - c)
                        taps = nine(w, 9 * tap * C + c, C, n)
                        for g in range(top, min(top + rows, G)):
                            other, out = base + g + 1 if g + 1 < G else -1, frame * H + 2 * g
                            below = out + 1 if 2 * g + 1 < H else -1
                            scatter_rows(dy, taps, dx, base + g, other, out, below, W, V, C, c, n, tap == 1)
