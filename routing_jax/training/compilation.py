"""Compiled programs, kept between processes."""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jax

from routing_jax.data.cache import user_cache_dir

_BROKEN = re.compile(
    r"Error (?:reading|writing) persistent compilation cache entry for '(?P<module>[^']+)'"
)


@contextmanager
def cached_compilations() -> Iterator[None]:
    """Keeps what is compiled during the block below the user's cache directory.

    JAX writes an entry in place and never again. One that a kill or a full disk cut short would be
    warned of, and compiled anew, for ever: entries of that name are removed instead.
    """
    folder = user_cache_dir() / "compilation"
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", _BROKEN.pattern)
        yield
    for warning in caught:
        _answer(warning, folder)


def _answer(warning: warnings.WarningMessage, folder: Path) -> None:
    broken = _BROKEN.match(str(warning.message))
    if broken is None:
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        return
    for path in folder.glob(f"{broken['module']}-*-cache"):
        path.unlink(missing_ok=True)
