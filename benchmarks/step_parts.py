"""Where the time of a routed step goes: each part of one routed layer alone, in a compiled loop.

    python -m benchmarks.step_parts [--quick] [--num_blocks=10 --width=128 --batch=1024]

Sums of parts are not a step: in a step some parts run side by side, and caches are shared. Products
are those of training, see `routing_jax.products`. The two lines of a whole layer differ by what is
done for guests, see `routing_jax.slots`.

Lines of parts that go through a whole bank have `gigabytes_per_second`, for the bytes that they
cannot avoid reading and writing; how near that is to what memory gives shows next to `copy a bank`.
"""

import argparse
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from benchmarks.model_step import looped
from benchmarks.step_cost import Setting
from benchmarks.timing import Run, interleaved, report
from routing_jax import slots
from routing_jax.grouped import apply_to_slots
from routing_jax.products import product
from routing_jax.routers.policies import TabularPolicy
from routing_jax.routers.router import Router
from routing_jax.types import Exploration, Params

_SMALL = 1e-9
"""Ties a result to the next turn's input, so that the compiler cannot take it out of the loop."""


_STREAMED = {
    "copy a bank": 2,
    "products": 1,
    "products, gradient of inputs": 1,
    "products, gradient of weights": 2,
    "plain SGD on a bank": 3,
}
"""How often each part has to read or write a bank's parameters or as large a gradient."""


def parts(setting: Setting) -> dict[str, Run]:
    """The parts by name."""
    alone = _dense(setting) | _rows(setting) | _products(setting) | _drawing(setting)
    return alone | _layers(setting)


def _dense(setting: Setting) -> dict[str, Run]:
    """The product that the dense side needs in place of the routed products."""
    x, weights = _normal(setting.examples, setting.width), _normal(setting.width, setting.width)
    return {"dense: one product": looped(lambda _, x: x + _SMALL * (x @ weights), x)}


def _rows(setting: Setting) -> dict[str, Run]:
    """Finding a slot for each example, and moving rows."""
    start = jax.random.randint(jax.random.key(0), (setting.examples,), 0, setting.num_blocks)
    room = _room(setting)

    def assign(actions: jax.Array) -> slots.Slots:
        return slots.assign_slots(actions, num_blocks=setting.num_blocks, room=room)

    def sort(_: jax.Array, actions: jax.Array) -> jax.Array:
        return (actions + slots.stable_order(actions, setting.num_blocks)[0]) % setting.num_blocks

    def find(_: jax.Array, actions: jax.Array) -> jax.Array:
        found = assign(actions)
        change = found.slot_of_example[0] + found.example_of_slot[0]
        return (actions + change) % setting.num_blocks

    batch, layout = slots.in_order(setting.examples), slots.slotted(assign(start))

    def move(_: jax.Array, x: jax.Array) -> jax.Array:
        return 0.999 * slots.move(slots.move(x, batch, layout), layout, batch)

    return {
        "sort actions": looped(sort, start),
        "find slots, with the sort": looped(find, start),
        "move rows to slots and back": looped(move, _normal(setting.examples, setting.width)),
    }


def _products(setting: Setting) -> dict[str, Run]:
    """The products of all blocks on their slots, and the update of their parameters."""
    blocks, width = setting.num_blocks, setting.width
    x = _normal(blocks, _room(setting), width)
    bank = _normal(blocks, width, width)

    def products(bank: Params, x: jax.Array) -> jax.Array:
        return jax.vmap(product)(x, bank)

    def to_inputs(_: jax.Array, gradient: jax.Array) -> jax.Array:
        return gradient + _SMALL * jax.vjp(lambda x: products(bank, x), x)[1](gradient)[0]

    def to_weights(_: jax.Array, bank: jax.Array) -> jax.Array:
        rows = x + bank[:, :1]
        return bank + _SMALL * jax.vjp(lambda bank: products(bank, rows), bank)[1](x)[0]

    gradient = _normal(blocks, width, width)
    return {
        "products": looped(lambda _, x: x + _SMALL * products(bank, x), x),
        "products, gradient of inputs": looped(to_inputs, x),
        "products, gradient of weights": looped(to_weights, bank),
        "plain SGD on a bank": looped(lambda _, bank: bank - _SMALL * gradient, bank),
        # Turned around, as a plain copy would be taken out of the loop.
        "copy a bank": looped(lambda _, bank: -bank, bank),
    }


def _layers(setting: Setting) -> dict[str, Run]:
    """A layer's products, forward, backward and plain SGD, without and with guests."""
    blocks, width, room = setting.num_blocks, setting.width, _room(setting)
    even = jnp.arange(setting.examples, dtype=jnp.int32) % blocks
    drawn = jax.random.randint(jax.random.key(0), (setting.examples,), 0, blocks)
    bank, x = _normal(blocks, width, width), _normal(blocks * room, width)

    def step(_: jax.Array, carry: tuple[jax.Array, jax.Array, slots.Slots]):
        bank, x, found = carry

        def layer(bank: jax.Array, x: jax.Array) -> jax.Array:
            return apply_to_slots(lambda kernel, rows: product(rows, kernel), bank, x, found)

        out, pull_back = jax.vjp(layer, bank, x)
        of_bank, of_x = pull_back(out)
        return bank + _SMALL * of_bank, x + _SMALL * of_x, found

    def of_actions(actions: jax.Array) -> Run:
        found = slots.assign_slots(actions, num_blocks=blocks, room=room)
        return looped(step, (bank, x, found))

    return {
        "layer, forward and backward, no guests": of_actions(even),
        "layer, forward and backward, actions drawn": of_actions(drawn),
    }


def _drawing(setting: Setting) -> dict[str, Run]:
    """Drawing the actions of three depths."""
    tasks = setting.tasks
    allowed = ((True,) * setting.num_blocks,) * 3
    policy = TabularPolicy(
        tasks, 3, setting.num_blocks, ((1 / setting.num_blocks,) * setting.num_blocks,) * 3
    )
    router = Router(tuple(range(tasks)), policy, allowed)
    agents = jnp.broadcast_to(
        jnp.arange(tasks, dtype=jnp.int32)[:, None], (tasks, setting.examples // tasks)
    )
    key = jax.random.key(0)
    decide = {"exploration": Exploration(), "method": "decide_ahead"}
    variables = router.init({"params": key, "router": key}, agents, **decide)

    def draw(number: jax.Array, total: jax.Array) -> jax.Array:
        keys = {"router": jax.random.fold_in(key, number)}
        return total + router.apply(variables, agents, rngs=keys, **decide).actions.sum()

    return {"draw actions of three depths": looped(draw, jnp.int32(0))}


def _room(setting: Setting) -> int:
    return slots.capacity(setting.examples, setting.num_blocks)


def _normal(*shape: int) -> jax.Array:
    return jax.random.normal(jax.random.key(0), shape)


def measure(setting: Setting, *, rounds: int) -> None:
    """Prints a line for each part."""
    times = interleaved(parts(setting), rounds=rounds)
    bank = 4e-9 * setting.num_blocks * setting.width**2
    report(
        "step_parts",
        setting.described(),
        times,
        against="dense: one product",
        gigabytes={name: passes * bank for name, passes in _STREAMED.items()},
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Measures every part of one setting and prints JSON lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="three rounds, within 50 s")
    parser.add_argument("--num_blocks", type=int, default=10)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--batch", type=int, default=1024)
    parser.add_argument("--rounds", type=int, help="measured rounds (7; quick: 3)")
    options = parser.parse_args(arguments)
    setting = Setting(options.num_blocks, options.width, options.batch)
    measure(setting, rounds=options.rounds or (3 if options.quick else 7))


if __name__ == "__main__":
    main()
