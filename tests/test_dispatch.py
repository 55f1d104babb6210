"""Every strategy against a plain loop over examples, and the slots that `grouped` rests on."""

import functools
import itertools
import re

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from curved_blocks import apply_block, problem
from hypothesis import strategies as st

from routing_jax.config_fields import DISPATCH_STRATEGIES
from routing_jax.convolution import conv
from routing_jax.dispatch import Stage, choose_strategy, route, select
from routing_jax.slots import assign_slots, capacity, stable_order

ANY_BLOCK = ("dense", "grouped", "auto")
PER_EXAMPLE = (*ANY_BLOCK, "ragged")
PER_TASK = (*PER_EXAMPLE, "gather")


def apply_ragged(bank, x, count, block_of_row):
    """All blocks of that kind on sorted rows."""
    return jnp.tanh(jax.lax.ragged_dot(x, bank["weight"], count) + bank["bias"][block_of_row])


def looped(bank, x, actions, loss_weights):
    """Output and gradients of `sum(loss_weights * output)`, one example after the other."""
    blocks = bank["weight"].shape[0]
    out = np.zeros(loss_weights.shape)
    bank_gradient = {name: np.zeros(leaf.shape) for name, leaf in bank.items()}
    x_gradient = np.zeros(x.shape)
    for task, example in np.ndindex(x.shape[:2]):
        block = actions[task] if actions.ndim == 1 else actions[task, example]
        row, upstream = x[task, example], loss_weights[task, example]
        if block == blocks:
            out[task, example], x_gradient[task, example] = row, upstream
            continue
        value = np.tanh(row @ bank["weight"][block] + bank["bias"][block])
        inner = upstream * (1 - value**2)
        out[task, example] = value
        x_gradient[task, example] = bank["weight"][block] @ inner
        bank_gradient["weight"][block] += np.outer(row, inner)
        bank_gradient["bias"][block] += inner
    return out, (bank_gradient, x_gradient)


@functools.partial(jax.jit, static_argnames=("strategy", "pass_action"))
def dispatched(bank, x, actions, loss_weights, *, strategy, pass_action):
    """The same by `select`."""

    def loss(bank, x):
        out = select(
            apply_block,
            bank,
            x,
            actions,
            strategy=strategy,
            pass_action=pass_action,
            apply_ragged=apply_ragged,
        )
        return (out * loss_weights).sum(), out

    (_, out), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(bank, x)
    return out, gradients


def check(strategies, bank, x, actions, loss_weights, *, pass_action=False):
    expected = looped(bank, x, actions, loss_weights)
    for strategy in strategies:
        found = dispatched(
            bank, x, actions, loss_weights, strategy=strategy, pass_action=pass_action
        )
        jax.tree.map(
            lambda a, b, strategy=strategy: np.testing.assert_allclose(
                a, b, atol=1e-4, rtol=1e-4, err_msg=strategy
            ),
            found,
            expected,
        )


@hypothesis.settings(max_examples=20)
@hypothesis.given(st.data())
def test_all_strategies_equal_a_loop_over_examples(data):
    tasks, examples = data.draw(st.sampled_from([(1, 1), (1, 7), (3, 1), (2, 5), (3, 33)]))
    blocks, inputs, outputs = data.draw(
        st.sampled_from([(1, 2, 3), (2, 1, 1), (5, 3, 2), (10, 4, 4)])
    )
    may_pass = inputs == outputs
    actions = data.draw(
        st.lists(
            st.integers(0, blocks - 1 + may_pass),
            min_size=tasks * examples,
            max_size=tasks * examples,
        )
    )
    actions = np.array(actions, np.int32).reshape(tasks, examples)
    bank, x, weights = problem(0, tasks, examples, blocks, inputs, outputs)
    check(("dense", "grouped", "ragged"), bank, x, actions, weights, pass_action=may_pass)


@pytest.mark.parametrize("blocks", [1, 4])
@pytest.mark.parametrize("pass_action", [False, True])
def test_one_action_per_task_under_all_strategies(blocks, pass_action):
    bank, x, weights = problem(1, 6, 3, blocks, 2, 2)
    actions = np.array([0, blocks - 1, 0, blocks // 2, 0, blocks - 1 + pass_action], np.int32)
    check(PER_TASK, bank, x, actions, weights, pass_action=pass_action)


@pytest.mark.parametrize(
    "actions",
    [
        pytest.param(np.full((2, 35), 2), id="one-block-crowd"),
        pytest.param(np.full((2, 35), 3), id="all-pass"),
        pytest.param(np.arange(70).reshape(2, 35) % 4, id="round-robin"),
        pytest.param(np.repeat([0, 1, 2, 3], [1, 33, 32, 4]).reshape(2, 35), id="uneven"),
    ],
)
def test_uneven_crowds_with_pass(actions):
    bank, x, weights = problem(2, 2, 35, 3, 2, 2)
    check(PER_EXAMPLE, bank, x, actions.astype(np.int32), weights, pass_action=True)


def test_more_blocks_than_examples():
    bank, x, weights = problem(3, 1, 3, 50, 2, 3)
    check(PER_EXAMPLE, bank, x, np.array([[49, 0, 49]], np.int32), weights)


def test_a_block_nobody_takes_gets_no_gradient():
    bank, x, weights = problem(4, 2, 5, 3, 2, 2)
    actions = np.array([[0, 0, 2, 2, 0], [2, 2, 2, 0, 0]], np.int32)
    for strategy in PER_EXAMPLE:
        _, (gradient, _) = dispatched(
            bank, x, actions, weights, strategy=strategy, pass_action=False
        )
        np.testing.assert_array_equal(gradient["weight"][1], 0)
        np.testing.assert_array_equal(gradient["bias"][1], 0)


def test_an_example_that_passes_sends_nothing_to_any_block_under_any_strategy():
    bank, x, weights = problem(5, 2, 3, 2, 2, 2)
    for strategy in PER_TASK:
        out, (gradient, x_gradient) = dispatched(
            bank, x, np.array([2, 2], np.int32), weights, strategy=strategy, pass_action=True
        )
        np.testing.assert_array_equal(out, x)
        np.testing.assert_array_equal(x_gradient, weights)
        jax.tree.map(lambda leaf: np.testing.assert_array_equal(leaf, 0), gradient)


@pytest.mark.parametrize("per_task", [False, True])
def test_blocks_with_spatial_axes(per_task):
    tasks, examples, blocks = 2, 17, 3
    rng = np.random.default_rng(0)
    kernels = rng.normal(size=(blocks, 3, 3, 2, 2)).astype(np.float32)
    x = rng.normal(size=(tasks, examples, 4, 5, 2)).astype(np.float32)
    shape = (tasks,) if per_task else (tasks, examples)
    actions = rng.integers(0, blocks + 1, shape).astype(np.int32)
    actions.flat[-1] = blocks  # at least one of them passes

    by_example = np.broadcast_to(actions[:, None] if per_task else actions, (tasks, examples))

    @jax.jit
    def block_by_block(kernels, x):
        out = jnp.asarray(x)
        for block in range(blocks):
            chosen = np.nonzero(by_example == block)
            out = out.at[chosen].set(conv(x[chosen], kernels[block]))
        return out

    expected, pull = jax.vjp(block_by_block, kernels, x)
    cotangent = rng.normal(size=expected.shape).astype(np.float32)
    for strategy in (*ANY_BLOCK, "gather") if per_task else ANY_BLOCK:

        def by_select(kernels, x, strategy=strategy):
            return select(
                lambda kernel, x: conv(x, kernel),
                kernels,
                x,
                jnp.asarray(actions),
                strategy=strategy,
                pass_action=True,
            )

        found, pull_found = jax.vjp(jax.jit(by_select), kernels, x)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4),
            (found, pull_found(cotangent)),
            (expected, pull(cotangent)),
        )


@pytest.mark.parametrize("strategy", ["dense", "grouped", "ragged"])
def test_dispatch_works_under_vmap_as_a_sweep_needs_it(strategy):
    problems = [problem(seed, 2, 6, 3, 2, 2) for seed in (0, 1)]
    actions = np.random.default_rng(0).integers(0, 4, (2, 2, 6)).astype(np.int32)
    stacked = jax.tree.map(lambda *leaves: np.stack(leaves), *problems)
    bank, x, weights = stacked
    run = functools.partial(dispatched, strategy=strategy, pass_action=True)
    out, gradients = jax.vmap(run)(bank, x, actions, weights)
    for cell in range(2):
        one = looped(*problems[cell][:2], actions[cell], problems[cell][2])
        mine = jax.tree.map(lambda leaf, cell=cell: leaf[cell], (out, gradients))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), mine, one)


def test_passing_takes_the_number_format_of_the_blocks():
    bank, x, _ = problem(0, 2, 3, 2, 2, 2)
    half = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), bank)
    for strategy in ANY_BLOCK:
        run = functools.partial(
            select,
            lambda params, x: apply_block(params, x.astype(jnp.bfloat16)),
            strategy=strategy,
            pass_action=True,
        )
        out = jax.jit(run)(half, x, np.array([[0, 1, 2]] * 2, np.int32))
        assert out.dtype == jnp.bfloat16
        np.testing.assert_array_equal(out[:, 2], jnp.asarray(x, jnp.bfloat16)[:, 2])


def test_gather_refuses_an_action_per_example():
    bank, x, _ = problem(0, 2, 3, 2, 2, 2)
    message = (
        "the strategy gather needs one action per task, [T]; got actions of shape (2, 3). "
        "Use grouped for an action per example."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        select(apply_block, bank, x, jnp.zeros((2, 3), jnp.int32), strategy="gather")


def test_an_unknown_strategy_is_refused_and_those_that_exist_are_named():
    bank, x, _ = problem(0, 2, 3, 2, 2, 2)
    message = (
        "there is no dispatch strategy 'sparse'; those that exist: auto, gather, dense, grouped, "
        "ragged"
    )
    for actions in (jnp.zeros(2, jnp.int32), jnp.zeros((2, 3), jnp.int32)):
        with pytest.raises(ValueError, match=f"^{message}$"):
            select(apply_block, bank, x, actions, strategy="sparse")


def test_ragged_refuses_a_block_that_has_no_such_form():
    bank, x, _ = problem(0, 2, 3, 2, 2, 2)
    message = (
        "the strategy ragged needs blocks that offer apply_ragged, as dense ones do. Use grouped "
        "for any other block."
    )
    with pytest.raises(ValueError, match=f"^{message}$"):
        select(apply_block, bank, x, jnp.zeros((2, 3), jnp.int32), strategy="ragged")


@pytest.mark.parametrize(
    ("backend", "per_task", "num_blocks", "can_be_ragged", "strategy"),
    [
        ("cpu", False, 10, True, "grouped"),
        ("cpu", True, 10, True, "gather"),
        ("cpu", False, 1, True, "dense"),
        ("gpu", False, 10, True, "ragged"),
        ("gpu", False, 10, False, "grouped"),
        ("tpu", True, 10, True, "gather"),
    ],
)
def test_what_auto_stands_for(backend, per_task, num_blocks, can_be_ragged, strategy):
    chosen = choose_strategy(
        backend, per_task=per_task, num_blocks=num_blocks, can_be_ragged=can_be_ragged
    )
    assert chosen == strategy


def test_the_configuration_offers_exactly_the_strategies_that_exist():
    assert set(DISPATCH_STRATEGIES) == set(PER_TASK)


# Slots.


def check_slots(slots, actions, num_blocks, room):
    """The invariants of slots (NumPy arrays)."""
    batch = actions.size
    assert slots.example_of_slot.size == num_blocks * room
    # Every example has one slot, that slot holds it, and all other slots are empty.
    np.testing.assert_array_equal(slots.example_of_slot[slots.slot_of_example], np.arange(batch))
    assert (slots.example_of_slot == batch).sum() == num_blocks * room - batch
    np.testing.assert_array_equal(slots.slot_of_position, slots.slot_of_example[slots.groups.order])
    # The first of each block fill its slots from the start, in the order of the batch; nobody is
    # a guest elsewhere while there is room at home.
    for block in range(num_blocks):
        mine = np.flatnonzero(actions == block)[:room]
        home = slots.example_of_slot[block * room : (block + 1) * room]
        np.testing.assert_array_equal(home[: mine.size], mine)


assign_all = jax.jit(
    lambda actions, num_blocks, room: jax.vmap(
        lambda row: assign_slots(row, num_blocks=num_blocks, room=room)
    )(actions),
    static_argnums=(1, 2),
)


def assign_one(actions, num_blocks, room):
    slots = jax.device_get(assign_all(actions[None], num_blocks, room))
    return jax.tree.map(lambda leaf: leaf[0], slots)


@pytest.mark.parametrize(
    ("batch", "num_blocks", "room"), [(5, 3, 2), (6, 2, 3), (4, 5, 4), (4, 5, 1), (1, 2, 1)]
)
def test_every_possible_batch_of_a_small_size_finds_room(batch, num_blocks, room):
    every = np.array(list(itertools.product(range(num_blocks + 1), repeat=batch)), np.int32)
    assigned = jax.device_get(assign_all(every, num_blocks, room))
    for row, actions in enumerate(every):
        one = jax.tree.map(lambda leaf, row=row: leaf[row], assigned)
        check_slots(one, actions, num_blocks, room)


@hypothesis.settings(max_examples=25)
@hypothesis.given(
    st.sampled_from([(64, 10, 8), (33, 4, 16), (100, 7, 16), (20, 30, 1), (90, 3, 30)]),
    st.integers(0, 2**31),
    st.floats(0.05, 5),
)
def test_skewed_crowds_of_large_batches(sizes, seed, concentration):
    batch, num_blocks, room = sizes
    rng = np.random.default_rng(seed)
    share = rng.dirichlet(np.full(num_blocks + 1, concentration))
    actions = rng.choice(num_blocks + 1, batch, p=share).astype(np.int32)
    check_slots(assign_one(actions, num_blocks, room), actions, num_blocks, room)


def test_examples_of_a_block_keep_their_order_and_guests_fill_the_gaps():
    # Blocks 1, 0, 1, PASS, 1 with room for 2: 1 and 1 take slots 2 and 3, 0 takes slot 0; the third
    # of block 1 and then the one that passes want empty slots, of which there are 1, 4 and 5.
    slots = assign_one(np.array([1, 0, 1, 3, 1], np.int32), 3, 2)
    np.testing.assert_array_equal(slots.slot_of_example, [2, 0, 3, 4, 1])
    np.testing.assert_array_equal(slots.example_of_slot, [1, 4, 0, 2, 3, 5])


@pytest.mark.parametrize(
    ("batch", "num_blocks", "room"),
    [
        (1024, 10, 120),  # 102.4 + 1.25 * 10.1 = 116, in eights
        (1024, 160, 16),  # 6.4 + 1.25 * 2.5 = 9.6, in eights
        (256, 160, 4),  # 1.6 + 1.25 * 1.26 = 3.2; eights would be mostly empty
        (64, 1, 64),  # never more than the batch
        (3, 50, 1),
    ],
)
def test_capacity(batch, num_blocks, room):
    assert capacity(batch, num_blocks) == room


@hypothesis.given(st.integers(1, 5000), st.integers(1, 1000))
def test_there_are_always_as_many_slots_as_examples(batch, num_blocks):
    assert num_blocks * capacity(batch, num_blocks) >= batch


@pytest.mark.slow
@hypothesis.settings(max_examples=8)
@hypothesis.given(
    tasks=st.integers(1, 3),
    examples=st.integers(1, 9),
    blocks=st.integers(1, 5),
    may_pass=st.lists(st.booleans(), min_size=1, max_size=4),
    seed=st.integers(0, 2**31 - 1),
)
def test_depths_in_a_row_equal_all_blocks_masked(tasks, examples, blocks, may_pass, seed):
    # Between depths `grouped` and `ragged` move rows past the order of the batch.
    rng = np.random.default_rng(seed)
    banks, x, loss_weights = [], None, None
    for _ in may_pass:
        bank, x, loss_weights = problem(rng.integers(2**31), tasks, examples, blocks, 4, 4)
        banks.append(bank)
    highest = [blocks + passes for passes in may_pass]
    actions = np.stack([rng.integers(0, high, (tasks, examples)) for high in highest], axis=-1)

    def loss(banks, x, strategy):
        stages = [
            Stage(apply_block, lambda _, bank=bank: bank, passes, apply_ragged)
            for bank, passes in zip(banks, may_pass, strict=True)
        ]
        out = route(stages, x, jnp.asarray(actions, jnp.int32), strategy=strategy)
        return (out * loss_weights).sum(), out

    run = jax.value_and_grad(loss, (0, 1), has_aux=True)
    expected = run(banks, x, "dense")
    for strategy in ("grouped", "ragged"):
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-4, atol=1e-5, err_msg=strategy),
            run(banks, x, strategy),
            expected,
        )


@pytest.mark.parametrize("num_blocks", [4, 2**29])  # the second takes the way for large keys
def test_the_order_by_action_is_stable(num_blocks):
    actions = jnp.array([3, 0, 3, 1, 0, 4], jnp.int32)
    order = stable_order(actions, num_blocks)
    np.testing.assert_array_equal(order, [1, 4, 3, 0, 2, 5])
