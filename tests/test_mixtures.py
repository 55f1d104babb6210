"""Mixtures of blocks, by their outputs and by their parameters."""

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from curved_blocks import apply_block, problem
from hypothesis import strategies as st

from routing_jax.dispatch import select
from routing_jax.mixtures import TASKS, mix_active, mix_outputs, mix_parameters


@hypothesis.settings(max_examples=20, deadline=None)
@hypothesis.given(st.integers(0, 10**6), st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_mixing_what_is_active_equals_mixing_all(seed, tasks, num_blocks, examples):
    rng = np.random.default_rng(seed)
    bank = {"w": jnp.asarray(rng.normal(size=(num_blocks, 3, 2)), jnp.float32)}
    x = jnp.asarray(rng.normal(size=(tasks, examples, 3)), jnp.float32)
    on = rng.random((tasks, num_blocks)) < 0.5
    weights = jnp.asarray(on * rng.normal(size=on.shape), jnp.float32)

    def block(params, x):
        return jnp.tanh(x @ params["w"])

    np.testing.assert_allclose(
        mix_active(block, bank, x, weights),
        mix_outputs(block, bank, x, weights),
        rtol=1e-5,
        atol=1e-6,
    )


def test_blocks_that_are_off_are_not_computed():
    runs = []

    def block(params, x):
        jax.debug.callback(lambda w: runs.append(float(w)), params["w"][0])
        return x * params["w"][None]

    bank = {"w": jnp.array([[1.0], [2.0], [3.0]])}
    weights = jnp.array([[0.0, 0.5, 0.0], [1.0, 0.0, 1.0]])
    out = mix_active(block, bank, jnp.ones((2, 4, 1)), weights)
    jax.effects_barrier()
    assert sorted(runs) == [1.0, 2.0, 3.0]  # block 1 for the first task, 0 and 2 for the second
    np.testing.assert_allclose(out[:, 0, 0], [1.0, 4.0])


def test_computed_blocks_of_weight_zero_have_a_gradient_and_others_none():
    bank = {"w": jnp.array([[1.0], [2.0], [3.0]])}
    computed = jnp.array([[True, True, False]])

    def total(weights, bank):
        out = mix_active(
            lambda params, x: x * params["w"][None],
            bank,
            jnp.ones((1, 4, 1)),
            weights,
            computed=computed,
        )
        return out.sum()

    of_weights, of_bank = jax.grad(total, (0, 1))(jnp.array([[1.0, 0.0, 0.0]]), bank)
    # Four rows of the block's output, 1, 2 and 3; the third one is not run.
    np.testing.assert_allclose(of_weights, [[4.0, 8.0, 0.0]])
    # The gradient of a block is its weight times four rows of 1.
    np.testing.assert_allclose(of_bank["w"], [[4.0], [0.0], [0.0]])


@hypothesis.settings(max_examples=4)
@hypothesis.given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.integers(0, 99))
def test_mixed_parameters_equal_a_loop_over_tasks(tasks, blocks, inputs, seed):
    bank, x, loss_weights = problem(seed, tasks, 3, blocks, inputs, 2)
    weights = np.random.default_rng(seed).dirichlet(np.ones(blocks), tasks).astype(np.float32)
    out = jax.jit(mix_parameters, static_argnums=0)(apply_block, bank, x, weights)
    for task in range(tasks):
        mixed = {name: np.tensordot(weights[task], leaf, 1) for name, leaf in bank.items()}
        expected = np.tanh(x[task] @ mixed["weight"] + mixed["bias"])
        np.testing.assert_allclose(out[task], expected, atol=1e-5)


def test_mixing_by_one_is_running_that_block():
    bank, x, loss_weights = problem(0, 3, 4, 5, 2, 2)
    actions = np.array([4, 0, 4])
    weights = np.eye(5, dtype=np.float32)[actions]

    def values(function, *rest):
        def loss(bank, x):
            out = function(apply_block, bank, x, *rest)
            return (out * loss_weights).sum(), out

        (_, out), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(bank, x)
        return out, gradients

    found, expected = values(mix_parameters, weights), values(select, actions)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), found, expected)


def test_of_blocks_that_are_linear_in_their_parameters_both_mixtures_are_the_same():
    bank, x, _ = problem(1, 3, 4, 5, 2, 2)
    weights = np.random.default_rng(1).dirichlet(np.ones(5), 3).astype(np.float32)

    def linear(params, x):
        return x @ params["weight"] + params["bias"][None]

    np.testing.assert_allclose(
        mix_parameters(linear, bank, x, weights), mix_outputs(linear, bank, x, weights), atol=1e-5
    )


def test_one_mixture_for_all_tasks_is_one_product():
    bank, x, _ = problem(2, 3, 4, 5, 2, 2)
    weights = np.random.default_rng(1).dirichlet(np.ones(5), 1).astype(np.float32)
    expected = mix_parameters(apply_block, bank, x, weights.repeat(3, 0))
    np.testing.assert_allclose(mix_parameters(apply_block, bank, x, weights), expected, atol=1e-6)
    program = jax.make_jaxpr(mix_parameters, static_argnums=0)(apply_block, bank, x, weights)
    products = [equation for equation in program.eqns if equation.primitive.name == "dot_general"]
    batched = [equation.params["dimension_numbers"][1] for equation in products]
    assert batched and all(axes == ((), ()) for axes in batched)


def test_a_block_may_average_over_the_tasks():
    bank, x, _ = problem(3, 3, 4, 2, 2, 2)

    def centred(params, rows):
        out = rows["x"] @ params["weight"]
        return {"out": out - jax.lax.pmean(out, TASKS)}

    found = mix_parameters(centred, bank, {"x": x}, np.ones((3, 2), np.float32))
    np.testing.assert_allclose(found["out"].sum(0), 0, atol=1e-5)
