"""A learning rule of one's own: REINFORCE whose baseline is the other examples of the batch.

A rule is a function from the transitions of a batch (arrays [T, n, D], see `types.Transitions`) to
a loss for each decision; its gradient in the router's parameters is the update. `RuleTraits` says
what it needs of a router: here logits.

    python examples/custom_rule.py
"""

import jax
import questions
import ten_lines

import routing_jax as rj


def leave_one_out(t):
    """Against the mean return of the task's other examples (Kool et al., "Buy 4 REINFORCE Samples,
    Get a Baseline for Free!", 2019)."""
    examples = t.returns.shape[1]
    others = (t.returns.sum(1, keepdims=True) - t.returns) / (examples - 1)
    return -jax.lax.stop_gradient(t.returns - others) * t.recall.log_prob


ROUTER = rj.build_router(rj.RuleTraits("logits"), num_tasks=5, num_blocks=5, depth=2)


def main():
    model = ten_lines.Model(rj.RoutedStack(rj.DenseBlock(64), ROUTER))
    optimizer = ten_lines.make_optimizer(ROUTER, leave_one_out, learning_rate=1.0)
    batches = questions.batches_by_task(steps=1000, size=51)
    params = ten_lines.fit(model, optimizer, batches)
    found = ten_lines.accuracy(model, params)
    print(f"mean over the questions: {found.mean():.1%} right")
    return found


if __name__ == "__main__":
    main()
