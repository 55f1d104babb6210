"""The product of rows and a kernel, with a gradient that many kernels at once take well on CPU."""

import jax


def dot_general(
    x: jax.Array, kernel: jax.Array, dimension_numbers: object, **options: object
) -> jax.Array:
    """What `nn.Dense(dot_general=...)` wants: x [..., F] times kernel [F, O].

    Under `vmap` over kernels, XLA's CPU backend is slow to contract over the rows of many small
    matrices, as the gradient of the kernel does, and to multiply a few rows by the transpose of
    each kernel, as the gradient of x does. With transposes of the rows written out it is not.
    """
    if jax.default_backend() != "cpu" or any(options.values()):
        return jax.lax.dot_general(x, kernel, dimension_numbers, **options)
    return product(x, kernel)


@jax.custom_vjp
def product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., F] times kernel [F, O]; see `dot_general`."""
    return x @ kernel


def _forward(x: jax.Array, kernel: jax.Array):
    return x @ kernel, (x, kernel)


def _backward(residuals, gradient: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals
    rows, of_rows = x.reshape(-1, x.shape[-1]), gradient.reshape(-1, gradient.shape[-1])
    of_x = gradient_of_rows(of_rows, kernel).reshape(x.shape)
    return of_x, gradient_of_kernel(rows, of_rows)


def gradient_of_kernel(rows: jax.Array, of_products: jax.Array) -> jax.Array:
    """The gradient of a kernel [F, O], given rows [B, F] and that of their products [B, O]."""
    return _written_out(rows.T) @ of_products


def gradient_of_rows(of_products: jax.Array, kernel: jax.Array) -> jax.Array:
    """The gradient of rows [B, F], given that of their products [B, O] with a kernel [F, O].

    Where rows are few it is better to transpose them than the kernel.
    """
    if 4 * of_products.shape[0] > kernel.shape[0]:
        return of_products @ kernel.T
    return _written_out(kernel @ _written_out(of_products.T)).T


def _written_out(x: jax.Array) -> jax.Array:
    """Keeps the compiler from putting a transpose back into the product."""
    return jax.lax.optimization_barrier(x)


product.defvjp(_forward, _backward)
