"""Where a prepared TFDS set is.

It is looked for in `data.dir`, `$ROUTING_JAX_DATA_DIR`, and TFDS's own default directory, in this
order, in the one version that is read. A directory that the user named must not be closed, and
`data.dir` must be there: to pass over it would be to train on something else. Nothing here asks the
network.
"""

import os
from glob import glob  # passes over what is closed, as that of Path does not
from pathlib import Path

from routing_jax.data.versions import VERSIONS
from routing_jax.errors import UserError

_VARIABLES = ("ROUTING_JAX_DATA_DIR", "TFDS_DATA_DIR")
"""That name data directories, in the order of the search."""


def find_prepared(name: str, data_dir: str) -> Path | None:
    """Directory of a prepared TFDS set in the version needed, or None if there is none.

    Args:
      name: TFDS name of the set.
      data_dir: where to look first, the field `data.dir`; "" if the user named none.

    Raises:
      UserError: `data_dir` is not there, or a directory that was named cannot be read.
    """
    if data_dir and _is_missing(_expanded(data_dir)):
        raise UserError(
            f"--config.data.dir={data_dir}: there is no such directory. Name the one that holds "
            f"{name}/{VERSIONS[name]}, or leave data.dir out to look in $ROUTING_JAX_DATA_DIR and "
            f"TFDS's default. To prepare the set in {data_dir}, run: python -m "
            f"routing_jax.data.prepare {name} --data_dir={data_dir}"
        )
    for folder in search_path(data_dir):
        try:
            if _is_there(name, folder):
                return _place(name, folder)
        except OSError as error:
            if folder == _home_default():  # which nobody named; `searched` tells of it
                continue
            raise UserError(
                f"The data directory {folder} cannot be searched for {name}: {Path(error.filename)}"
                f": {error.strerror}. Mend that, or name another one with --config.data.dir=DIR or "
                "ROUTING_JAX_DATA_DIR=DIR."
            ) from error
    return None


def search_path(data_dir: str) -> list[Path]:
    """The directories in which prepared sets are looked for, in order."""
    named = [data_dir, *(os.environ.get(name, "") for name in _VARIABLES)]
    folders = [_expanded(folder) for folder in named if folder]
    return folders if os.environ.get("TFDS_DATA_DIR") else [*folders, _home_default()]


def searched(name: str, data_dir: str) -> str:
    """The directories looked in, in words, with what kept `find_prepared` out of one."""
    places = []
    for folder in search_path(data_dir):
        try:
            _is_there(name, folder)
            places.append(str(folder))
        except OSError as error:
            places.append(f"{folder} (which cannot be read: {error.strerror})")
    return ", ".join(places)


def other_versions(name: str, data_dir: str) -> list[Path]:
    """Directories of the set in other versions than the one needed, in the order of the search."""
    return [
        (folder / name / found).parent
        for folder in search_path(data_dir)
        for found in sorted(glob("[0-9]*/dataset_info.json", root_dir=folder / name))
        if Path(found).parent.name != VERSIONS[name]
    ]


def _expanded(folder: str) -> Path:
    return Path(os.path.expanduser(folder))


def _home_default() -> Path:
    """TFDS's own default."""
    return _expanded("~/tensorflow_datasets")


def _place(name: str, folder: Path) -> Path:
    return folder / name / VERSIONS[name]


def _is_missing(path: Path) -> bool:
    """Whether nothing is there, as opposed to something that cannot be read."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, FileNotFoundError)
    return False


def _is_there(name: str, folder: Path) -> bool:
    """Whether a data directory has the set, whole or not.

    Raises:
      OSError: that cannot be told; its `filename` names the first directory that is closed.
    """
    try:
        for path in (folder, folder / name, _place(name, folder)):
            os.stat(f"{path}/.")  # which the system looks up inside of it
    except FileNotFoundError:
        return False
    return True
