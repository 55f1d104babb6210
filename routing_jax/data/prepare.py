"""Prepares an image set: python -m routing_jax.data.prepare NAME [--from=DIR] [--data_dir=DIR]

The result is read by this package and by `tfds.data_source`, and needs no TensorFlow to be made.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from routing_jax.data import search
from routing_jax.data.download import MIRROR_VARIABLE
from routing_jax.data.preparation import SETS, prepare
from routing_jax.errors import UserError

_INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Runs the command line; returns the exit status: 0 done, 2 something to mend in the input."""
    parsed = _parser().parse_args(argv[1:])
    try:
        _prepare(parsed.name, parsed.source, parsed.data_dir)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("stopped; nothing half-prepared is left. The same command starts again.")
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    wanted = "\n".join(f"  {name:<14} {original.wanted}" for name, original in SETS.items())
    parser = argparse.ArgumentParser(
        prog="python -m routing_jax.data.prepare",
        description="Prepares an image set in TFDS's format, without TensorFlow.",
        epilog=(
            f"sets, and their original files:\n{wanted}\n\n"
            f"A web address in ${MIRROR_VARIABLE} is asked for <address>/NAME/<file> instead of\n"
            "the authors' servers."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("name", metavar="NAME", help=f"one of: {', '.join(SETS)}")
    parser.add_argument(
        "--from",
        dest="source",
        type=_directory,
        metavar="DIR",
        help="directory of the original files (default: download them)",
    )
    parser.add_argument(
        "--data_dir",
        type=_directory,
        metavar="DIR",
        help="where prepared sets are (default: $ROUTING_JAX_DATA_DIR, else TFDS's own default)",
    )
    return parser


def _directory(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty; name a directory")
    return Path(os.path.expanduser(text))


def _prepare(name: str, source: Path | None, data_dir: Path | None) -> None:
    if name not in SETS:
        raise UserError(f"there is no set {name!r}; choose one of: {', '.join(SETS)}.")
    # Only now: drawing and TFDS take longer to import than the answer above.
    from absl import logging
    from rich.console import Console

    from routing_jax.data.progress import bars

    logging.set_verbosity(logging.ERROR)  # libraries' hints are not for the user of this command
    console = Console()

    def say(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    with bars(console) as report:
        prepare(
            name,
            source=source,
            data_dir=data_dir or search.search_path("")[0],
            say=say,
            report=report,
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv))
