"""Uniform numbers of `jax.random`, the same ones, without a loop.

On CPU `jax.random` rolls the rounds of its generator into a loop that no vector unit can use; for
the few thousand numbers of a routed step that takes as long as a routed layer's forward pass.
Written out, XLA computes the rounds of all numbers as one vectorised loop.

The generator is Threefry-2x32 with 20 rounds: Salmon, Moraes, Dror, Shaw, "Parallel random numbers:
as easy as 1, 2, 3", SC 2011, section 4.1.
"""

import math
from typing import TypeVar

import jax
import jax.numpy as jnp
import numpy as np

_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = 0x1BD11BDA

Words = TypeVar("Words", jax.Array, np.ndarray)


def uniform(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """`jax.random.uniform(key, shape)`: float32 in [0, 1).

    Keys of another generator than JAX's default one, and counters of more than 32 bits, are left to
    `jax.random`.
    """
    if not is_standard(key) or math.prod(shape) >= 2**32:
        return jax.random.uniform(key, shape)
    first, second = jax.random.key_data(key)
    numbers = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(shape)
    left, right = threefry(first, second, jnp.zeros_like(numbers), numbers)
    # The bits of a float in [1, 2): sign and exponent of 1, and 23 random bits.
    return jax.lax.bitcast_convert_type((left ^ right) >> 9 | 0x3F800000, jnp.float32) - 1.0


def is_standard(key: jax.Array) -> bool:
    """Whether `jax.random` makes of this key what is computed here."""
    standard = jax.config.jax_threefry_partitionable
    return standard and str(jax.random.key_impl(key)) == "threefry2x32"


def threefry(first: Words, second: Words, left: Words, right: Words) -> tuple[Words, Words]:
    """The block function: a key of two words, and counters of two words; all uint32."""
    keys = (first, second, first ^ second ^ np.uint32(_PARITY))
    left, right = left + keys[0], right + keys[1]
    for turn in range(5):
        for rotation in _ROTATIONS[turn % 2]:
            left = left + right
            right = left ^ (right << rotation | right >> (32 - rotation))
        left = left + keys[(turn + 1) % 3]
        right = right + keys[(turn + 2) % 3] + np.uint32(turn + 1)
    return left, right
