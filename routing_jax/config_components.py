"""The components that `model.components` and the strides that `model.strides` name. Imports no JAX.

Components are written as their names, each with how often it comes: "8xconv3 identity" is eight
convolutions, each with parameters of its own, and the identity. Strides are written as one number
for each routed layer: "2-1-2".
"""

import re
from collections.abc import Mapping
from typing import Any

COMPONENTS = (
    "conv3",
    "conv5",
    "conv3_twice",
    "conv5_twice",
    "conv7_twice",
    "conv1x7_7x1",
    "max_pool",
    "mean_pool",
    "identity",
)
NORM_GROUPS = 4
"""Groups of channels of a component's group normalisation."""
_ONE = rf"(?:(?P<count>[1-9]\d{{0,2}})x)?(?P<name>{'|'.join(COMPONENTS)})"


def are_components(text: str) -> bool:
    """Whether a text names components."""
    return all(re.fullmatch(_ONE, word) for word in text.split(" "))


def components_of(text: str) -> tuple[str, ...]:
    """The names of all K components, in order, each as often as it comes."""
    found = [re.fullmatch(_ONE, word) for word in text.split()]
    return tuple(one["name"] for one in found for _ in range(int(one["count"] or 1)))


def are_strides(text: str) -> bool:
    """Whether a text holds strides."""
    return re.fullmatch("[12](-[12])*", text) is not None


def strides_of(text: str, depth: int) -> tuple[int, ...]:
    """The stride of each of so many layers; 1 where the text is empty."""
    return tuple(map(int, text.split("-"))) if text else (1,) * depth


def num_blocks(model: Mapping[str, Any], num_tasks: int) -> int:
    """K, the blocks of a bank, by the `model` part of a configuration.

    Fixed routes may make do with fewer.
    """
    if model["block"] == "components":
        return len(components_of(model["components"]))
    return model["num_blocks"] or num_tasks
