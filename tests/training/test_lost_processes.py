"""Which errors ask whether another process has gone."""

import jax
import pytest

from routing_jax.training.joining import _needs_all


@pytest.mark.parametrize(
    ("cause", "asks"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection reset by peer"), True),
        (jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: Barrier timed out"), True),
        (OSError("No space left on device"), False),
        (None, False),
    ],
)
def test_a_checkpoint_that_fails_for_another_process_is_told_from_a_full_disk(cause, asks):
    assert _needs_all(cause) == asks
