"""A small block with a curved response, and banks of it, for tests of dispatch and mixtures."""

import jax.numpy as jnp
import numpy as np


def apply_block(params, x):
    """A block with a curved response, [m, F] to [m, features]."""
    return jnp.tanh(x @ params["weight"] + params["bias"][None])


def problem(seed, tasks, examples, blocks, inputs, outputs):
    """A bank, inputs and the weights of the outputs in the loss, as float32 NumPy arrays."""
    rng = np.random.default_rng(seed)
    shapes = ((blocks, inputs, outputs), (blocks, outputs))
    weight, bias = (rng.normal(size=shape).astype(np.float32) for shape in shapes)
    x = rng.normal(size=(tasks, examples, inputs)).astype(np.float32)
    loss_weights = rng.normal(size=(tasks, examples, outputs)).astype(np.float32)
    return {"weight": weight, "bias": bias}, x, loss_weights
