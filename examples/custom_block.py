"""A function block of one's own, in a stack that uses one bank at every depth and may skip depths.

A block is any Flax module that takes [m, ...] and has no state besides its parameters; batch
normalisation, whose running averages are state, is what it excludes.

    python examples/custom_block.py
"""

import flax.linen as nn
import questions
import ten_lines

import routing_jax as rj


class ResidualBlock(nn.Module):
    """What is added to the representation passes through a narrow layer."""

    narrow: int = 16

    @nn.compact
    def __call__(self, x):
        y = nn.gelu(nn.Dense(self.narrow)(nn.LayerNorm()(x)))
        return x + nn.Dense(x.shape[-1])(y)


RULE = "reinforce_mean"
ROUTER = rj.build_router(RULE, num_tasks=5, num_blocks=8, depth=3, pass_action=True)


def main():
    routed = rj.RoutedStack(ResidualBlock(), ROUTER, shared_bank=True, block_noise=1.0)
    model = ten_lines.Model(routed)
    optimizer = ten_lines.make_optimizer(ROUTER, RULE, learning_rate=0.5)
    params = ten_lines.fit(model, optimizer, questions.mixed_batches(steps=800, size=256))
    found = ten_lines.accuracy(model, params)
    print(f"mean over the questions: {found.mean():.1%} right")
    return found


if __name__ == "__main__":
    main()
