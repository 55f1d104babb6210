"""A routing network in PyTorch, written for `against_torch`: three layers, tabular agents, WPL.

It does what our step does, the way PyTorch does it well: per depth one sort of the examples by
action, one matrix product for each used block, rows carried straight from one depth's order to the
next's, autograd, plain SGD, and the batched table update of `routing_jax.rl`.
"""

import torch
from torch.nn import functional

RETURN_RATE, ROUTER_RATE, RATE = 0.05, 0.1, 0.05


class RoutedNetwork:
    """K blocks at each of D depths, and a table of probabilities [T, D, K]."""

    def __init__(self, widths: list[int], *, num_blocks: int, num_tasks: int) -> None:
        """Independent blocks and a uniform policy.

        Args:
          widths: of the input and of each layer's output, D + 1 numbers.
          num_blocks: K.
          num_tasks: T.
        """
        self.layers = [
            [_linear(inputs, outputs) for _ in range(num_blocks)]
            for inputs, outputs in zip(widths, widths[1:], strict=False)
        ]
        depth = len(self.layers)
        self.policy = torch.full((num_tasks, depth, num_blocks), 1 / num_blocks)
        self.mean_return = torch.zeros(num_tasks, depth)

    def step(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One training step on examples [T * n, F], task by task; returns the loss."""
        actions = self.draw(len(x))
        logits = self.forward(x, actions)
        loss = functional.cross_entropy(logits, labels)
        used = [block for layer in self.layers for block in layer]
        descend([tensor for block in used for tensor in block], loss)
        reward = torch.where(logits.argmax(-1) == labels, 1.0, -1.0)
        self.learn(actions, reward)
        return loss.detach()

    def draw(self, examples: int) -> torch.Tensor:
        """Actions [examples, D] from the policy of each example's task."""
        tasks, depth, _ = self.policy.shape
        distribution = self.policy.cumsum(-1)
        distribution = distribution / distribution[..., -1:]
        uniform = torch.rand(tasks, depth, examples // tasks)
        actions = torch.searchsorted(distribution, uniform, right=True)
        return actions.transpose(1, 2).reshape(examples, depth)

    def forward(self, x: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Logits [examples, C] of x [examples, F] along actions [examples, D]."""
        place = torch.arange(len(x))  # the row that holds each example
        for depth, layer in enumerate(self.layers):
            order = actions[:, depth].argsort()
            counts = torch.bincount(actions[:, depth], minlength=len(layer)).tolist()
            parts = x[place[order]].split(counts)
            used = [(part, *block) for part, block in zip(parts, layer, strict=True) if len(part)]
            x = torch.cat([torch.addmm(bias, part, weight) for part, weight, bias in used])
            if depth < len(self.layers) - 1:
                x = functional.relu(x)
            place = torch.empty_like(order)
            place[order] = torch.arange(len(order))
        return x[place]

    @torch.no_grad()
    def learn(self, actions: torch.Tensor, reward: torch.Tensor) -> None:
        """The Weighted Policy Learner on the table: actions [examples, D], reward [examples]."""
        tasks, depth, blocks = self.policy.shape
        reward = reward.reshape(tasks, -1)
        self.mean_return += RETURN_RATE * (reward.mean(1, keepdim=True) - self.mean_return)
        advantage = reward[:, None] - self.mean_return[:, :, None]  # [T, D, n]
        taken = actions.reshape(tasks, -1, depth).transpose(1, 2)
        total = torch.zeros(tasks, depth, blocks).scatter_add_(2, taken, advantage)
        total /= reward.shape[1]
        factor = torch.where(total > 0, self.policy, 1 - self.policy)
        moved = (self.policy + ROUTER_RATE * factor * total).clamp(0, 1)
        total = moved.sum(-1, keepdim=True)
        self.policy = torch.where(total > 0, moved / total.clamp(min=1e-12), 1 / blocks)


class DenseNetwork:
    """One block a layer for all examples, no router."""

    def __init__(self, widths: list[int]) -> None:
        """See `RoutedNetwork`."""
        pairs = zip(widths, widths[1:], strict=False)
        self.layers = [_linear(inputs, outputs) for inputs, outputs in pairs]

    def step(self, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """One training step on examples [examples, F]; returns the loss."""
        for weight, bias in self.layers[:-1]:
            x = functional.relu(torch.addmm(bias, x, weight))
        weight, bias = self.layers[-1]
        loss = functional.cross_entropy(torch.addmm(bias, x, weight), labels)
        descend([tensor for layer in self.layers for tensor in layer], loss)
        return loss.detach()


@torch.no_grad()
def descend(tensors: list[torch.Tensor], loss: torch.Tensor) -> None:
    """Plain SGD; tensors that the loss does not depend on stay."""
    gradients = torch.autograd.grad(loss, tensors, allow_unused=True)
    moved = [(t, g) for t, g in zip(tensors, gradients, strict=True) if g is not None]
    torch._foreach_add_([t for t, _ in moved], [g for _, g in moved], alpha=-RATE)


def _linear(inputs: int, outputs: int) -> tuple[torch.Tensor, torch.Tensor]:
    weight = torch.randn(inputs, outputs) / inputs**0.5
    return weight.requires_grad_(), torch.zeros(outputs, requires_grad=True)
