"""The PyTorch network of the benchmark does what ours does."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.torch_network import DenseNetwork, RoutedNetwork  # noqa: E402


def small_network():
    torch.manual_seed(0)
    return RoutedNetwork([5, 4, 4, 3], num_blocks=6, num_tasks=2)


def test_examples_go_through_their_blocks():
    network = small_network()
    x, actions = torch.rand(8, 5), torch.randint(5, (8, 3))  # nobody chooses block 5
    logits = network.forward(x, actions).detach()
    for example in range(8):
        out = x[example]
        for depth in range(3):
            weight, bias = network.layers[depth][int(actions[example, depth])]
            out = out @ weight + bias
            out = out.relu() if depth < 2 else out
        np.testing.assert_allclose(logits[example], out.detach(), atol=1e-5)


def test_actions_follow_the_policy_of_the_task():
    network = small_network()
    network.policy = torch.zeros(2, 3, 6)
    network.policy[0, :, 2], network.policy[1, :, 5] = 1, 1
    actions = network.draw(8)
    np.testing.assert_array_equal(actions, [[2] * 3] * 4 + [[5] * 3] * 4)


def test_the_policy_takes_steps_of_the_weighted_policy_learner():
    network = small_network()
    network.policy = torch.tensor([[[0.25, 0.75]]]).repeat(2, 3, 1)
    network.learn(torch.tensor([[0] * 3, [1] * 3] * 2), torch.tensor([1.0, -1.0, 1.0, 1.0]))
    # Task 0: R = 0, advantages +1 for action 0 and -1 for action 1, halved; factors 0.25 and 0.25:
    # rate 0.1 moves by +0.0125 and -0.0125. Task 1: R = 0.05 and advantage 0.95 for both, so both
    # grow in proportion, and the sum of 1 undoes it.
    expected = np.repeat([[[0.2625, 0.7375]], [[0.25, 0.75]]], 3, axis=1)
    np.testing.assert_allclose(network.policy, expected, rtol=1e-5)


@pytest.mark.parametrize("make", [small_network, lambda: DenseNetwork([5, 4, 4, 3])])
def test_the_loss_falls(make):
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network, x = make(), torch.rand(32, 5)
    labels = (3 * x[:, 0]).long().clamp(max=2)
    losses = [float(network.step(x, labels)) for _ in range(600)]
    assert np.mean(losses[-20:]) < 0.95 * np.mean(losses[:20])
