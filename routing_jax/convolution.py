"""Convolution that stays fast inside a compiled loop and under `vmap` on CPU.

XLA's CPU backend runs the gradient of a convolution in its kernel tens of times slower inside a
loop than outside, and turns a `vmap` over kernels into a slow grouped convolution. There shifted
slices times a matrix, or the whole map times a larger one, are the same sum without either trap.
Other backends use their own convolution for everything.
"""

import math
from collections.abc import Callable
from functools import cache, partial
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from flax.linen.dtypes import promote_dtype

from routing_jax import small_maps
from routing_jax.mesh import sum_by_examples

Method = Literal["auto", "slices", "product", "native"]
Padding = Literal["same", "valid"]

_AXES = ("NHWC", "HWIO", "NHWC")
_FEW = 9
"""Slices that patches are made of in one go, at most."""


def conv(
    x: jax.Array,
    kernel: jax.Array,
    *,
    stride: int = 1,
    padding: Padding = "same",
    method: Method = "auto",
) -> jax.Array:
    """Convolution.

    Args:
      x: [B, height, width, channels].
      kernel: [rows, columns, channels, features], both sides odd.
      stride: of rows and of columns.
      padding: "same" (zeros around the map keep its resolution) or "valid" (none).
      method: "native" (the backend's convolution), "slices" (shifted slices where that is slow),
        "product" (one product, see `small_maps`), or "auto": on CPU "product" where that is faster
        and else "slices", native elsewhere.

    Returns:
      [B, height, width, features], with "valid" smaller by the kernel's sides minus 1, and with a
      stride divided by it, rounded up.
    """
    zeros, outputs = _ends(x.shape, kernel.shape, stride=stride, padding=padding)
    if method == "auto":
        method = _best_method(x.shape, kernel.shape, outputs)
    if method == "native":
        return _native(x, kernel, stride=stride, padding=padding)
    if method == "product":
        return small_maps.conv(x, kernel, stride=stride, zeros=zeros, outputs=outputs)
    return _convolve(x, kernel, zeros) if stride == 1 else _strided(x, kernel, stride, padding)


def conv_of_many(
    x: jax.Array, kernels: jax.Array, *, stride: int = 1, padding: Padding = "same"
) -> jax.Array:
    """Several kernels on the same maps, as one convolution with the features of all.

    Args:
      x: [B, height, width, channels].
      kernels: [K, rows, columns, channels, features].
      stride: see `conv`.
      padding: see `conv`.

    Returns:
      [B, height', width', K, features].
    """
    joined = jnp.moveaxis(kernels, 0, 3)
    out = conv(x, joined.reshape(*joined.shape[:3], -1), stride=stride, padding=padding)
    return out.reshape(*out.shape[:3], *joined.shape[3:])


def _best_method(
    maps: tuple[int, ...], kernel: tuple[int, ...], outputs: tuple[int, int]
) -> Method:
    """What "auto" stands for."""
    if jax.default_backend() != "cpu":
        return "native"
    return "product" if small_maps.is_faster(maps, kernel, outputs) else "slices"


def _ends(
    maps: tuple[int, ...], kernel: tuple[int, ...], *, stride: int, padding: Padding
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Zeros in front of the rows and of the columns, and height and width of the result."""
    both = zip(maps[1:3], kernel[:2], strict=True)
    if padding == "same":
        ends = [same_padding(length, side=side, stride=stride) for length, side in both]
    else:
        ends = [(0, (length - side) // stride + 1) for length, side in both]
    return tuple(before for before, _ in ends), tuple(outputs for _, outputs in ends)


_NUMBERS_AT_ONCE = 2**18
"""Of patches that stand in memory together in the gradient of a kernel."""


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _convolve(x: jax.Array, kernel: jax.Array, around: tuple[int, int]) -> jax.Array:
    """The convolution with so many zeros around each side of the rows and of the columns.

    The gradient is written down: of the input it is a convolution too.
    """
    return _forward(around)(x, kernel)


def _convolve_forward(x, kernel, around):
    return _convolve(x, kernel, around), (x, kernel)


def _convolve_backward(around, residuals, gradient):
    x, kernel = residuals
    rows, columns = kernel.shape[:2]
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    of_x = _convolve(gradient, turned, (rows - 1 - around[0], columns - 1 - around[1]))
    of_kernel = partial(_of_kernel, sides=(rows, columns), around=around)
    return of_x, sum_by_examples(of_kernel, x, gradient)


_convolve.defvjp(_convolve_forward, _convolve_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _strided(x: jax.Array, kernel: jax.Array, stride: int, padding: Padding) -> jax.Array:
    """The convolution with a stride: the backend's own, with the gradient of `_folded`."""
    return _strided_forward(stride, padding)(x, kernel)


def _strided_with_residuals(x, kernel, stride, padding):
    return _strided(x, kernel, stride, padding), (x, kernel)


def _strided_backward(stride, padding, residuals, gradient):
    folded = partial(_folded, stride=stride, padding=padding)
    return jax.vjp(folded, *residuals)[1](gradient)


_strided.defvjp(_strided_with_residuals, _strided_backward)


def _folded(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Padding) -> jax.Array:
    """The convolution with the stride made into channels."""
    for axis in (1, 2):
        x, kernel = _fold(x, kernel, axis=axis, stride=stride, padding=padding)
    return _convolve(x, kernel, (0, 0))


@cache
def _strided_forward(stride: int, padding: Padding) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """As `_forward`."""
    native = partial(_native, stride=stride, padding=padding)
    return _unless_kernels_are_mapped(native, partial(_folded, stride=stride, padding=padding))


@cache
def _forward(around: tuple[int, int]) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The function of input and kernel: the backend's own, and slices where kernels are mapped."""
    zeros = [(n, n) for n in around]
    native = partial(_native, stride=1, padding=zeros)
    return _unless_kernels_are_mapped(native, partial(_by_slices, around=around))


def _unless_kernels_are_mapped(
    one: Callable[[jax.Array, jax.Array], jax.Array],
    many: Callable[[jax.Array, jax.Array], jax.Array],
) -> Callable[[jax.Array, jax.Array], jax.Array]:
    """The function `one` of input and kernel, but `many` under a `vmap` over kernels."""

    @jax.custom_batching.custom_vmap
    def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return one(x, kernel)

    @forward.def_vmap
    def forward_of_many(size, mapped, x, kernel):
        if mapped[1]:
            return jax.vmap(many, (0 if mapped[0] else None, 0))(x, kernel), True
        out = forward(x.reshape(-1, *x.shape[2:]), kernel)
        return out.reshape(size, -1, *out.shape[1:]), True

    return forward


_SLOW_FEATURES, _FAST_FEATURES = 16, 24
"""Of one channel: XLA's CPU backend takes some times as long for up to 16 as it does for 24."""


def _native(
    x: jax.Array, kernel: jax.Array, *, stride: int, padding: str | list[tuple[int, int]]
) -> jax.Array:
    """The convolution of the backend; see `_SLOW_FEATURES`."""
    padding = padding.upper() if isinstance(padding, str) else padding
    channels, features = kernel.shape[2:]
    if channels == 1 and features <= _SLOW_FEATURES and jax.default_backend() == "cpu":
        kernel = jnp.pad(kernel, ((0, 0), (0, 0), (0, 0), (0, _FAST_FEATURES - features)))
    out = jax.lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, dimension_numbers=_AXES
    )
    return out[..., :features]


def _by_slices(x: jax.Array, kernel: jax.Array, around: tuple[int, int]) -> jax.Array:
    """The convolution as patches times a matrix."""
    return _patches(x, kernel.shape[:2], around) @ kernel.reshape(-1, kernel.shape[-1])


def _of_kernel(
    x: jax.Array, gradient: jax.Array, sides: tuple[int, int], around: tuple[int, int]
) -> jax.Array:
    """The gradient of a kernel of these sides, given that of the output.

    Some examples at a time, so that their patches, many times as large as the maps, stay in cache.
    A kernel of many places is a product for each of its rows, whose patches are rows of one array.
    Where there are few channels, two neighbouring places are taken together: both see one column
    more than one of them and have twice the features, so that patches are half as many and hardly
    wider. Of the two operands of a product the narrower one is transposed, which costs less.
    """
    batch, height, width, features = gradient.shape
    rows, columns = sides
    few = rows * columns * x.shape[-1] < features
    paired = few and columns % 2 == 1 < columns and width % 2 == 0
    seen, pair = (columns + 1, 2) if paired else (columns, 1)
    products = rows if rows * columns > _FEW else 1
    shape = (rows // products * seen * x.shape[-1], pair * features)

    def add(totals: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        x = jnp.pad(part[0], ((0, 0), *((zeros, zeros) for zeros in around), (0, 0)))
        if paired:
            x = _into_channels(x, 2, pair, 3)
        patches = _patches(x, (rows // products, seen // pair), (0, 0))
        of_rows = []
        for row in range(products):
            seen_by_row = patches[:, row : row + height].reshape(-1, shape[0])
            operands = seen_by_row, part[1].reshape(-1, shape[1])
            narrow, wide = sorted(operands, key=lambda operand: operand.shape[1])
            of_rows.append(jnp.dot(narrow.T, wide, preferred_element_type=jnp.float32))
        return totals + jnp.stack(of_rows), None

    together = _examples_at_once(batch, height * width // pair * shape[0])
    parts = [a.reshape(-1, together, *a.shape[1:]) for a in (x, gradient)]
    start = jnp.zeros((products, *sorted(shape)), jnp.float32)
    totals = jax.lax.scan(add, start, tuple(parts))[0]
    totals = totals if shape[0] <= shape[1] else totals.swapaxes(1, 2)
    totals = totals.reshape(rows, seen, x.shape[-1], pair, features)
    return sum(totals[:, i : i + columns, :, i] for i in range(pair)).astype(gradient.dtype)


def _examples_at_once(batch: int, numbers: int) -> int:
    """How many examples of so many numbers in patches stand together; a divisor of the batch.

    At most half of the batch: the compiler takes a loop of one turn apart, to its own disadvantage.
    """
    return max(
        n
        for n in range(1, max(batch // 2, 1) + 1)
        if not batch % n and n * numbers <= max(numbers, _NUMBERS_AT_ONCE)
    )


def _patches(x: jax.Array, sides: tuple[int, int], around: tuple[int, int]) -> jax.Array:
    """What a kernel of these sides sees at each place, [B, height', width', sides * channels]."""
    x = jnp.pad(x, ((0, 0), *((zeros, zeros) for zeros in around), (0, 0)))
    height, width = x.shape[1] - sides[0] + 1, x.shape[2] - sides[1] + 1
    if math.prod(sides) > _FEW:  # columns first: fewer operations to compile
        columns = [x[:, :, column : column + width] for column in range(sides[1])]
        x = jnp.concatenate(columns, axis=-1)
        return jnp.concatenate([x[:, row : row + height] for row in range(sides[0])], axis=-1)
    shifted = [
        x[:, row : row + height, column : column + width]
        for row in range(sides[0])
        for column in range(sides[1])
    ]
    return jnp.concatenate(shifted, axis=-1)


def same_padding(length: int, *, side: int, stride: int) -> tuple[int, int]:
    """Zeros in front of an axis, and its length afterwards, with "same" padding.

    Args:
      length: of the axis.
      side: of the window along it.
      stride: of the window.
    """
    outputs = -(-length // stride)
    return max((outputs - 1) * stride + side - length, 0) // 2, outputs


def _fold(
    x: jax.Array, kernel: jax.Array, *, axis: int, stride: int, padding: Padding
) -> tuple[jax.Array, jax.Array]:
    """Makes a stride along one axis of `x` into channels: what is left is stride 1, and "valid".

    Neighbours that a step of the kernel jumps over together stand side by side as channels, and the
    kernel is filled up with zeros to whole steps.
    """
    side, length = kernel.shape[axis - 1], x.shape[axis]
    before, outputs = 0, (length - side) // stride + 1
    if padding == "same":
        before, outputs = same_padding(length, side=side, stride=stride)
    if side == 1:
        return jax.lax.slice_in_dim(x, 0, None, stride, axis), kernel
    steps = -(-side // stride)
    after = (outputs - 1 + steps) * stride - length - before
    x = _pad(x, axis, before, after)
    kernel = _pad(kernel, axis - 1, 0, steps * stride - side)
    return _into_channels(x, axis, stride, 3), _into_channels(kernel, axis - 1, stride, 2)


def _pad(x: jax.Array, axis: int, before: int, after: int) -> jax.Array:
    """Zeros around one axis; a negative number crops it."""
    around = [(before, after, 0) if i == axis else (0, 0, 0) for i in range(x.ndim)]
    return jax.lax.pad(x, jnp.zeros((), x.dtype), around)


def _into_channels(x: jax.Array, axis: int, stride: int, channels: int) -> jax.Array:
    """Cuts an axis into pieces of length `stride`, which join the axis of the channels."""
    shape = list(x.shape)
    shape[axis : axis + 1] = [shape[axis] // stride, stride]
    x = jnp.moveaxis(x.reshape(shape), axis + 1, channels)
    merged = list(x.shape)
    merged[channels : channels + 2] = [merged[channels] * merged[channels + 1]]
    return x.reshape(merged)


class Conv(nn.Module):
    """Convolution with bias and "same" padding, started as Glorot and Bengio do; see `conv`."""

    features: int
    sides: tuple[int, int]
    """Rows and columns of the kernel, both odd."""
    stride: int = 1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (*self.sides, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.glorot_uniform(), shape)
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        x, kernel, bias = promote_dtype(x, kernel, bias, dtype=self.dtype)
        return conv(x, kernel, stride=self.stride) + bias[None, None, None]


class Conv3x3(nn.Module):
    """3x3 convolution without bias (a normalisation follows it); see `conv`."""

    features: int
    dtype: jnp.dtype = jnp.float32
    stride: int = 1

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        shape = (3, 3, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape)
        return conv(x.astype(self.dtype), kernel.astype(self.dtype), stride=self.stride)
