"""Synthetic regression: pairs of related tasks, each target a sum of sines of random directions.

After the generator of Ma et al. 2018 ("Modeling Task Relationships in Multi-task Learning with
Multi-gate Mixture-of-Experts"), which Maziarz et al. 2019 ("Gumbel-Matrix Routing") extend to
several pairs: related inside a pair, unrelated between pairs. The sizes and the form of the target
are our own: the inputs x are standard normal vectors, and

    y = sqrt(r) * g_pair(x) + sqrt(1 - r) * g_task(x) + noise,
    g(x) = sqrt(2 / m) * sum of sin(w_i . x + b_i), i = 1 .. m,

with random directions w_i of equal length and random phases b_i of its own for each g. A target has
mean 0 and variance 1 in expectation over phases, so predicting the mean costs an error of about 1;
the relatedness r is the share of the variance that the two tasks of a pair have in common.
"""

import numpy as np

from routing_jax.data.labelled_images import LabelledImages

FEATURES = 10
"""F, length of an input."""
SINES = 4
"""m, sines of a function."""
FREQUENCY = 1.5
"""Length of the directions w."""
NOISE = 0.01
"""Standard deviation of the noise on a target."""
EXAMPLES = {"train": 8000, "test": 2000}
_SEED = 0


def generate(*, num_pairs: int, relatedness: float) -> dict[str, LabelledImages]:
    """Both splits, the same at every call and for every seed of a run.

    Inputs and functions do not depend on `relatedness`, so that runs differ in nothing else.

    Args:
      num_pairs: P; there are 2 P tasks, those of a pair side by side.
      relatedness: r, in [0, 1].
    """
    draw = np.random.RandomState(_SEED)  # its stream is fixed for good
    inputs = draw.standard_normal((sum(EXAMPLES.values()), FEATURES))
    noise = NOISE * draw.standard_normal((inputs.shape[0], num_pairs, 2))
    common, own = _sines(draw, inputs, num_pairs), _sines(draw, inputs, 2 * num_pairs)
    targets = np.sqrt(1 - relatedness) * own.reshape(-1, num_pairs, 2) + noise
    targets += np.sqrt(relatedness) * common[..., None]
    everything = LabelledImages(
        "synthetic",
        inputs.astype(np.float32),
        np.zeros(inputs.shape[0], np.int32),
        tuple(f"pair {pair} task {task}" for pair in range(num_pairs) for task in "ab"),
        targets=targets.reshape(-1, 2 * num_pairs).astype(np.float32),
    )
    rows = np.split(np.arange(inputs.shape[0]), [EXAMPLES["train"]])
    return {split: everything.subset(part) for split, part in zip(EXAMPLES, rows, strict=True)}


def _sines(draw: np.random.RandomState, inputs: np.ndarray, functions: int) -> np.ndarray:
    """Values of random functions g: [M, functions]."""
    directions = draw.standard_normal((FEATURES, functions * SINES))
    directions *= FREQUENCY / np.linalg.norm(directions, axis=0)
    waves = np.sin(inputs @ directions + draw.uniform(0, 2 * np.pi, functions * SINES))
    return np.sqrt(2 / SINES) * waves.reshape(-1, functions, SINES).sum(-1)
