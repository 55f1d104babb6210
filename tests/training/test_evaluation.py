"""Evaluation against one example at a time in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.models.factory import DataShape, make_model
from routing_jax.objectives import OBJECTIVES
from routing_jax.training.evaluation import evaluate
from routing_jax.types import Exploration


def test_evaluation_equals_one_example_at_a_time(tiny_config, unequal_data):
    config = tiny_config(data__share_images=False, model__encoder="conv4")
    model = make_model(config, DataShape(3, 2, (4, 4, 1)), block_noise=1.0)
    key = jax.random.key(0)
    keys = {"params": key, "router": key}
    images = jnp.asarray(unequal_data.images[unequal_data.index[:, :2]])
    variables = model.init(keys, images, exploration=Exploration())
    policy = jax.random.dirichlet(key, jnp.ones(4), (3, 2))
    variables = {
        **variables,
        "params": {**variables["params"], "router": {"policy": {"table": policy}}},
    }
    data = jax.tree.map(jnp.asarray, unequal_data)
    result = evaluate(model, variables, data, num_classes=2, objective=OBJECTIVES["classification"])

    np.testing.assert_array_equal(result.greedy, policy.argmax(-1))
    np.testing.assert_allclose(result.routing, policy, rtol=1e-5)
    greedy = policy.argmax(-1).astype(jnp.int32)
    for task, size in enumerate(unequal_data.sizes):
        right = {0: [], 1: []}
        for example in range(size):
            image = unequal_data.images[unequal_data.index[task, example]]
            x = model.apply(variables, image[None], train=False, method="encode")
            x = jnp.broadcast_to(x, (3, 1, x.shape[-1]))
            logits = model.apply(variables, x, greedy[:, None], method="follow")[task, 0]
            label = int(unequal_data.labels[task, example])
            right[label].append(int(logits.argmax()) == label)
        everything = right[0] + right[1]
        recalls = [np.mean(answers) for answers in right.values() if answers]
        np.testing.assert_allclose(result.metrics["accuracy"][task], np.mean(everything), rtol=1e-6)
        np.testing.assert_allclose(
            result.metrics["balanced_accuracy"][task], np.mean(recalls), rtol=1e-6
        )
        found = result.recalls[task]
        np.testing.assert_allclose(found[~np.isnan(found)], recalls, rtol=1e-6)


def test_always_answering_no_is_90_percent_accurate_and_50_percent_balanced(tiny_config, digits):
    model = make_model(tiny_config(), DataShape(10, 2, (8, 8, 1)), block_noise=0.0)
    key = jax.random.key(0)
    keys = {"params": key, "router": key}
    images = jnp.zeros((1, 1, 8, 8, 1), jnp.uint8)
    variables = model.init(keys, images, exploration=Exploration())
    last = variables["params"]["banks_1"]["blocks"]["Dense_0"]
    last |= {
        "kernel": jnp.zeros_like(last["kernel"]),
        "bias": jnp.tile(jnp.array([1.0, 0]), (4, 1)),
    }
    result = evaluate(
        model,
        variables,
        jax.tree.map(jnp.asarray, digits.test),
        num_classes=digits.num_classes,
        objective=OBJECTIVES["classification"],
    )
    np.testing.assert_allclose(result.metrics["balanced_accuracy"], [0.5] * 10)
    np.testing.assert_allclose(result.metrics["accuracy"].mean(), 0.9, atol=1e-6)
