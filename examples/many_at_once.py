"""Many trainings of a routed stack as one program, and one training on many devices.

Seeds and rates are values, not structure, so a training is a pure function of them: `jax.vmap` over
it trains them together, and each device can have its own part of them. One training is spread by
giving each device its part of every batch.

    python examples/many_at_once.py
    XLA_FLAGS=--xla_force_host_platform_device_count=4 python examples/many_at_once.py
"""

import jax
import numpy as np
import optax
import questions
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P
from ten_lines import Model, accuracy, loss_of, make_optimizer

RATES = np.array([0.1, 0.3], np.float32)
SEEDS = 4


def all_batches(steps, size):
    """Images [steps, B, 64], tasks and answers [steps, B]."""
    batches = questions.mixed_batches(steps=steps, size=size)
    return tuple(np.stack(arrays) for arrays in zip(*batches, strict=True))


def train(learning_rate, seed, batches):
    """The parameters after one step for each batch; all arguments may be traced."""
    model, optimizer = Model(), make_optimizer(learning_rate=learning_rate)

    def step(carry, batch):
        params, state, key = carry
        key, own = jax.random.split(key)
        gradient, aux = jax.grad(loss_of, has_aux=True)(params, model, *batch, own)
        updates, state = optimizer.update(gradient, state, params, trajectory=aux)
        return (optax.apply_updates(params, updates), state, key), None

    key = jax.random.key(seed)
    images, tasks, _ = batches
    params = model.init(key, images[0], tasks[0])["params"]
    (params, *_), _ = jax.lax.scan(step, (params, optimizer.init(params), key), batches)
    return params


def mesh_of(axis):
    """All devices, of all machines, along one axis."""
    return jax.make_mesh((jax.device_count(),), (axis,), (AxisType.Auto,))


def train_many(batches):
    """Parameters of all rates and seeds, each leaf [rates, seeds, ...]."""
    own_seeds = NamedSharding(mesh_of("sweep"), P("sweep"))
    seeds = jax.device_put(np.arange(SEEDS), own_seeds)  # each device trains its own seeds
    over_seeds = jax.vmap(train, (None, 0, None))
    return jax.jit(jax.vmap(over_seeds, (0, None, None)))(RATES, seeds, batches)


def train_spread(batches):
    """The parameters of one training, each device with its part of every batch."""
    mesh = mesh_of("data")
    batches = jax.device_put(batches, NamedSharding(mesh, P(None, "data")))
    with jax.set_mesh(mesh):
        return jax.jit(train)(RATES[1], 0, batches)


def main():
    batches, model = all_batches(steps=300, size=128), Model()
    many, one = train_many(batches), train_spread(batches)
    for i, rate in enumerate(RATES):
        found = [
            accuracy(model, jax.tree.map(lambda leaf, i=i, s=s: leaf[i, s], many)).mean()
            for s in range(SEEDS)
        ]
        told = ", ".join(f"{share:.1%}" for share in found)
        print(f"rate {rate:g}, seeds 0 to {SEEDS - 1}: {told} right")
    spread = accuracy(model, one).mean()
    print(f"rate {RATES[1]:g}, seed 0, {jax.device_count()} devices: {spread:.1%} right")
    return found, spread


if __name__ == "__main__":
    main()
