"""The outputs of a network that was cut out, beside those of the full one."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from routing_jax.data.loading import TaskSet
from routing_jax.models.network import MultiTaskNetwork
from routing_jax.types import Params

Call = Callable[[np.ndarray, int], jax.Array]
"""Inputs [n, ...] and their task to outputs [n, C]."""


class Comparison:
    """Compares outputs with those of a full network on test inputs.

    Args:
      model: the full network.
      variables: its parameters and running averages.
      tasks: with the test inputs.
      at_once: inputs of one pass.
    """

    def __init__(
        self,
        model: MultiTaskNetwork,
        variables: dict[str, Params],
        tasks: TaskSet,
        *,
        at_once: int = 250,
    ) -> None:
        def outputs(variables: dict[str, Params], inputs: jax.Array) -> jax.Array:
            x = model.apply(variables, inputs, train=False, method="encode")
            x = jnp.broadcast_to(x, (model.num_tasks, *x.shape))
            return model.apply(variables, x, method="route").logits

        self._outputs = jax.jit(outputs)
        self._variables, self._tasks, self._at_once = variables, tasks, at_once

    def largest(self, call: Call, task: int, *, most: int | None = None) -> float:
        """The largest difference of outputs.

        Args:
          call: what is compared.
          task: its number; its test inputs are taken.
          most: so many of them only; all if None.
        """
        test, found = self._tasks.test, 0.0
        rows = test.index[task, : test.sizes[task]][:most]
        for start in range(0, len(rows), self._at_once):
            inputs = np.asarray(test.images[rows[start : start + self._at_once]])
            got = np.asarray(call(inputs, task))
            expected = np.asarray(self._outputs(self._variables, inputs)[task])
            kept = np.isfinite(got)  # classes that a task lacks are minus infinity
            difference = np.abs(got - expected[:, : got.shape[1]])[kept]
            found = max(found, float(difference.max(initial=0.0)))
        return found
