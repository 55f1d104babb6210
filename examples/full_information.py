"""Routes learned from the losses of all blocks instead of one reward for the block taken.

`RoutedStack.alternatives` gives what would come out if one decision were another. A quarter of each
batch judges: the blocks do not learn from it, and the policies learn from nothing else, by
multiplicative weights (the rule "hedge").

    python examples/full_information.py
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import questions
import ten_lines

import routing_jax as rj

ROUTER = rj.build_router("hedge", num_tasks=5, num_blocks=5, depth=2)


class Model(nn.Module):
    def setup(self):
        self.first = nn.Dense(64)
        self.routed = rj.RoutedStack(rj.DenseBlock(64), ROUTER)
        self.last = nn.Dense(2)

    def __call__(self, x, task=None, *, train=False):
        x, routes = self.routed(nn.relu(self.first(x)), task, train=train)
        return self.last(x), routes

    def alternatives(self, routes):
        return self.last(self.routed.alternatives(routes))


def loss_of(params, model, x, task, label, key):
    variables = {"params": params}
    logits, routes = model.apply(variables, x, task, train=True, rngs={"router": key})
    judges = jnp.arange(len(x)) < len(x) // 4
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, label)
    others = jax.lax.stop_gradient(model.apply(variables, routes, method="alternatives"))
    labels = jnp.broadcast_to(label, others.shape[:-1])
    of_actions = optax.softmax_cross_entropy_with_integer_labels(others, labels)
    batch = rj.trajectory(routes, -losses, weights=judges, action_losses=of_actions)
    return losses.mean(where=~judges), batch


def main():
    model = Model()
    optimizer = ten_lines.make_optimizer(ROUTER, "hedge", learning_rate=1.0)
    batches = questions.mixed_batches(steps=1000, size=256)
    params = ten_lines.fit(model, optimizer, batches, loss_of)
    found = ten_lines.accuracy(model, params)
    print(f"mean over the questions: {found.mean():.1%} right")
    return found


if __name__ == "__main__":
    main()
