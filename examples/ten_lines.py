"""A routed stack in a model and a loop of one's own.

The ten lines marked with <- are what routing adds or changes. Without them it is an ordinary Flax
model that answers five questions about digits with one network; with them each question finds its
own way through the blocks.

    python examples/ten_lines.py
"""

import flax.linen as nn
import jax
import numpy as np
import optax
import questions

import routing_jax as rj  # <-

ROUTER = rj.build_router("wpl", num_tasks=5, num_blocks=5, depth=2)  # <-


class Model(nn.Module):
    routed: rj.RoutedStack = rj.RoutedStack(rj.DenseBlock(64), ROUTER)  # <-

    @nn.compact
    def __call__(self, x, task=None, *, train=False):
        x = nn.relu(nn.Dense(64)(x))
        x, routes = self.routed(x, task, train=train)  # <-
        return nn.Dense(2)(x), routes  # <-


def make_optimizer(router=ROUTER, rule="wpl", learning_rate=0.3):
    step = rj.router_optimizer(router, rule, learning_rate=learning_rate)  # <-
    return optax.partition({"blocks": optax.adam(3e-3), "router": step}, rj.label_parameters)  # <-


def loss_of(params, model, x, task, label, key):
    variables = {"params": params}
    logits, routes = model.apply(variables, x, task, train=True, rngs={"router": key})  # <-
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    return losses.mean(), rj.trajectory(routes, -losses)  # <-


def fit(model, optimizer, batches, loss_of=loss_of):
    """Trains on batches (x, task, label); returns the parameters."""

    @jax.jit
    def train_step(params, state, x, task, label, key):
        gradient, aux = jax.grad(loss_of, has_aux=True)(params, model, x, task, label, key)
        updates, state = optimizer.update(gradient, state, params, trajectory=aux)  # <-
        return optax.apply_updates(params, updates), state

    params = state = None
    for step, (x, task, label) in enumerate(batches):
        key = jax.random.key(step)
        if params is None:
            params = model.init(key, x, task)["params"]
            state = optimizer.init(params)
        params, state = train_step(params, state, x, task, label, key)
    return params


def accuracy(model, params):
    """The share of right answers to each question on the test set, along the best routes: [5]."""
    images, answers = questions.load()["test"]
    everyone = np.broadcast_to(images, (5, *images.shape))
    logits, _ = jax.jit(model.apply)({"params": params}, everyone)
    return np.mean(logits.argmax(-1) == answers, axis=1)


def routes_of(params):
    """The most probable block of each question at each depth, read from the table of policies."""
    return params["routed"]["router"]["policy"]["table"].argmax(-1)


def main():
    model = Model()
    batches = questions.mixed_batches(steps=1000, size=256)
    params = fit(model, make_optimizer(), batches)
    found = accuracy(model, params)
    for name, share, route in zip(questions.QUESTIONS, found, routes_of(params), strict=True):
        print(f"{name:>18}: {share:.1%} right, through the blocks {' and '.join(map(str, route))}")
    return found


if __name__ == "__main__":
    main()
