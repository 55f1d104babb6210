"""Whether the images of a set are held in memory, or read from where they are stored."""

import importlib.util

from ml_collections import ConfigDict
from rich.filesize import decimal

from routing_jax.config_clashes_data import STREAMED
from routing_jax.data.sources import Say
from routing_jax.data.tasks import IMAGES
from routing_jax.errors import UserError


def streams(nbytes: int, data_config: ConfigDict, *, room: int | None, say: Say) -> bool:
    """Whether images of so many bytes are streamed.

    By default those are that take more than half of the memory there is: decoding holds a set
    twice, and training needs the rest.

    Args:
      nbytes: of all images as they would be held; 0 where nobody knows.
      data_config: the `data` part of a validated configuration.
      room: bytes of memory available; None where they do not matter.
      say: receives a line where a set is streamed for its size.

    Raises:
      UserError: the set is to be held and does not fit, or Grain is not installed.
    """
    name, kind = data_config.name, data_config.input
    if kind == "memory" and room is not None and nbytes > room:
        raise UserError(
            f"data.input = memory, but the images of {name} take {decimal(nbytes)}, and only "
            f"{decimal(room)} of memory are available: set data.input to stream, or "
            "data.image_size to fewer pixels."
        )
    too_large = room is not None and nbytes > room // 2
    if kind == "auto" and too_large and can_be_streamed(data_config):
        kind = "stream"
        say(
            f"The images of {name} take {decimal(nbytes)}, more than half of the {decimal(room)} "
            "of memory available: they are streamed."
        )
    if kind == "stream":
        require_grain()
    return kind == "stream"


def can_be_streamed(data_config: ConfigDict) -> bool:
    """Whether the images of the set are used as they are stored."""
    return data_config.name in STREAMED and data_config.tasks not in IMAGES


def require_grain() -> None:
    """Raises UserError where images cannot be streamed."""
    if importlib.util.find_spec("grain") is None:
        raise UserError(
            "data.input = stream needs the package grain, which is not installed: "
            "pip install -c constraints.txt -e '.[stream]', or pip install 'routing_jax[stream]'."
        )
