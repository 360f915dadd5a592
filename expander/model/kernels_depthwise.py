"""Channel-wise convolution of clips on a CPU, as kernels for numba.

Every array is flat memory of (N, T, H, W, C), weights of (taps, C). The channels are the vector; a
row of an image is walked with the three columns under the kernel in registers. Sizes: H, W of what
the convolution reads; G, V (height, width) of what it makes. A work item is a frame (of N * T), for
gradients of weights a group of frames with a sum of its own. Names in the loops: a, h, b are the
rows above, here and below; 0, 1, 2 the columns of the kernel.
"""

from __future__ import annotations

from expander.model.compiled import compiled
from expander.model.lanes import WIDTH, load, spread, store

TEMPORAL = 5  # taps of the stem's convolution over time


@compiled
def nine(w, place, C, n):  # type: ignore[no-untyped-def]
    """The taps of one 3x3 slice of a kernel."""
    return (
        load(w, place, n), load(w, place + C, n), load(w, place + 2 * C, n),
        load(w, place + 3 * C, n), load(w, place + 4 * C, n), load(w, place + 5 * C, n),
        load(w, place + 6 * C, n), load(w, place + 7 * C, n), load(w, place + 8 * C, n),
    )  # fmt: skip


@compiled
def add_moments(y, sums, start, count, first, frame, C):  # type: ignore[no-untyped-def]
    """Add `count` positions of y from `start` to the sums (F, 2, C) of y - y[first] and its square."""
    for c in range(0, C, WIDTH):
        n, place = min(WIDTH, C - c), frame * 2 * C + c
        origin = load(y, first * C + c, n)
        total, squares = load(sums, place, n), load(sums, place + C, n)
        for position in range(start, start + count):
            value = load(y, position * C + c, n) - origin
            total = total + value
            squares = squares + value * value
        store(sums, place, n, total)
        store(sums, place + C, n, squares)


@compiled
def settle_moments(y, sums, first, frame, count, C):  # type: ignore[no-untyped-def]
    """The sums of a frame of `count` positions become its mean and its sum of squared deviations."""
    for place in range(frame * 2 * C, frame * 2 * C + C):
        total = sums[place]
        sums[place] = y[first * C + place - frame * 2 * C] + total / count
        sums[place + C] -= total * total / count


@compiled
def row(x, w, k, y, above, here, below, out, W, V, C, c, n, fresh, stride):  # type: ignore[no-untyped-def]
    """y[row `out`] (+)= the slice of the kernel at `k` over three rows of x; -1: no such row."""
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = nine(w, k * C + c, C, n)
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
    for frame in range(start, stop):
        t = frame % T
        for g in range(G):
            out, h = frame * G + g, stride * g
            for tap in (1, 0, 2):
                if 0 <= t + tap - 1 < T:
                    here = (frame + tap - 1) * H + h
                    above, below = here - 1 if h > 0 else -1, here + 1 if h + 1 < H else -1
                    for c in range(0, C, WIDTH):
                        n = min(WIDTH, C - c)
                        row(x, w, 9 * tap, y, above, here, below, out, W, V, C, c, n, tap == 1, stride)
            if len(sums) > 0:
                add_moments(y, sums, out * V, V, frame * G * V, frame, C)
        if len(sums) > 0:
            settle_moments(y, sums, frame * G * V, frame, G * V, C)


@compiled
def weight_row(x, dy, dw, place, above, here, below, out, W, V, C, c, n, stride):  # type: ignore[no-untyped-def]
    """dw[nine taps from `place`] += the products of row `out` of dy with three rows of x."""
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = nine(dw, place, C, n)
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
    store(dw, place, n, w00)
    store(dw, place + C, n, w01)
    store(dw, place + 2 * C, n, w02)
    store(dw, place + 3 * C, n, w10)
    store(dw, place + 4 * C, n, w11)
    store(dw, place + 5 * C, n, w12)
    store(dw, place + 6 * C, n, w20)
    store(dw, place + 7 * C, n, w21)
    store(dw, place + 8 * C, n, w22)


@compiled
def weight_gradient(x, dy, dw, frames, groups, T, H, W, G, V, C, stride, start, stop):  # type: ignore[no-untyped-def]
    """dw (groups, 27, C), zeros before: of the frames of each group."""
    for group in range(start, stop):
        for frame in range(group * frames // groups, (group + 1) * frames // groups):
            t = frame % T
            for g in range(G):
                h = stride * g
                for tap in range(max(0, 1 - t), min(3, T + 1 - t)):
                    here = (frame + tap - 1) * H + h
                    above, below = here - 1 if h > 0 else -1, here + 1 if h + 1 < H else -1
                    for c in range(0, C, WIDTH):
                        n, place = min(WIDTH, C - c), (group * 27 + 9 * tap) * C + c
                        weight_row(x, dy, dw, place, above, here, below, frame * G + g, W, V, C, c, n, stride)


@compiled
def scatter_row(dy, w, k, dx, one, other, out, W, V, C, c, n, fresh):  # type: ignore[no-untyped-def]
    """dx[row `out`] (+)= the rows of dy that read it at stride 2: `one` by the slice's row at k,
    `other` by the one six taps before it (-1: none). Even columns are read once, odd ones twice."""
    l0, l1, l2 = load(w, k * C + c, n), load(w, (k + 1) * C + c, n), load(w, (k + 2) * C + c, n)
    m, before, nx = n if other >= 0 else 0, max(k - 6, 0), 0 if fresh else n
    o0, o1 = load(w, before * C + c, m), load(w, (before + 1) * C + c, m)
    o2 = load(w, (before + 2) * C + c, m)
    first, second, to = one * V * C + c, max(other, 0) * V * C + c, out * W * C + c
    left, far_left = load(dy, first, n), load(dy, second, m)
    for i_from, i_to, inside, room in ((0, V - 1, 1, 1), (V - 1, V, 0, 1 - W % 2)):
        mn, mm, mx, mo = n * inside, m * inside, nx * room, n * room
        for i in range(i_from, i_to):
            even = to + 2 * i * C
            store(dx, even, n, load(dx, even, nx) + left * l1 + far_left * o1)
            right, far_right = load(dy, first + (i + 1) * C, mn), load(dy, second + (i + 1) * C, mm)
            total = load(dx, even + C, mx) + right * l0 + left * l2 + far_right * o0 + far_left * o2
            store(dx, even + C, mo, total)
            left, far_left = right, far_right


@compiled
def scatter(dy, w, dx, T, H, W, G, V, C, start, stop):  # type: ignore[no-untyped-def]
    """The gradient dx of the input of the convolution of stride 2."""
    for frame in range(start, stop):
        t = frame % T
        for h in range(H):
            for tap in (1, 0, 2):
                if 0 <= t - tap + 1 < T:
                    base = (frame - tap + 1) * G + h // 2
                    other = base + 1 if h % 2 == 1 and h // 2 + 1 < G else -1
                    k = 9 * tap + (6 if h % 2 == 1 else 3)
                    for c in range(0, C, WIDTH):
                        n = min(WIDTH, C - c)
                        scatter_row(dy, w, k, dx, base, other, frame * H + h, W, V, C, c, n, tap == 1)


@compiled
def temporal(x, w, y, sums, T, P, C, start, stop):  # type: ignore[no-untyped-def]
    """y of x (N, T, P, C) and w (5, C), over time; the moments of every frame if `sums` has room."""
    for frame in range(start, stop):
        t = frame % T
        for c in range(0, C, WIDTH):
            n = min(WIDTH, C - c)
            w0, w1, w2 = load(w, c, n), load(w, C + c, n), load(w, 2 * C + c, n)
            w3, w4 = load(w, 3 * C + c, n), load(w, 4 * C + c, n)
            n0, n1, n3, n4 = n * (t > 1), n * (t > 0), n * (t + 1 < T), n * (t + 2 < T)
            for position in range(P):
                here, step = (frame * P + position) * C + c, P * C
                before, after = here - step * (t > 0), here + step * (t + 1 < T)
                early, late = here - 2 * step * (t > 1), here + 2 * step * (t + 2 < T)
                total = load(x, early, n0) * w0 + load(x, before, n1) * w1 + load(x, here, n) * w2
                total = total + load(x, after, n3) * w3 + load(x, late, n4) * w4
                store(y, here, n, total)
        if len(sums) > 0:
            add_moments(y, sums, frame * P, P, frame * P, frame, C)
            settle_moments(y, sums, frame * P, frame, P, C)


@compiled
def temporal_weight_gradient(x, dy, dw, frames, groups, T, P, C, start, stop):  # type: ignore[no-untyped-def]
    """dw (groups, 5, C), zeros before: of the frames of each group."""
    for group in range(start, stop):
        for frame in range(group * frames // groups, (group + 1) * frames // groups):
            t = frame % T
            for tap in range(max(0, 2 - t), min(5, T + 2 - t)):
                shift = (tap - 2) * P * C
                for c in range(0, C, WIDTH):
                    n, place = min(WIDTH, C - c), (group * 5 + tap) * C + c
                    total = load(dw, place, n)
                    for position in range(frame * P, (frame + 1) * P):
                        here = position * C + c
                        total = total + load(dy, here, n) * load(x, here + shift, n)
                    store(dw, place, n, total)
