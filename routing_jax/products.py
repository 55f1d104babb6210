"""The product of rows and a kernel, with a gradient that many kernels at once take well on CPU."""

import jax
import jax.numpy as jnp


def dot_general(
    x: jax.Array, kernel: jax.Array, dimension_numbers: object, **options: object
) -> jax.Array:
    """What `nn.Dense(dot_general=...)` wants: x [..., F] times kernel [F, O].

    Under `vmap` over kernels, XLA's CPU backend is slow to contract over the rows of many small
    matrices, as the gradient of the kernel does; with the transpose of x written out it is not.
    """
    if jax.default_backend() != "cpu" or any(options.values()):
        return jax.lax.dot_general(x, kernel, dimension_numbers, **options)
    return _product(x, kernel)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    return x @ kernel


def _forward(x: jax.Array, kernel: jax.Array):
    return x @ kernel, (x, kernel)


def _backward(residuals, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    rows, of_rows = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    # Without the barrier the compiler would put the transpose back into the product.
    transposed = jax.lax.optimization_barrier(jnp.swapaxes(rows, 0, 1))
    return gradient @ jnp.swapaxes(kernel, 0, 1), transposed @ of_rows


_product.defvjp(_forward, _backward)
