"""What holds for every test: strict JAX, isolated caches, reproducible properties, real data.

Warnings are errors by setup.cfg.
"""

import os
import tempfile
from pathlib import Path

import hypothesis
import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

# Every new shape compiles anew, which is what an example costs here.
hypothesis.settings.register_profile("routing_jax", deadline=None, max_examples=25)
hypothesis.settings.register_profile(
    "routing_jax_ci", hypothesis.settings.get_profile("routing_jax"), derandomize=True
)
hypothesis.settings.load_profile("routing_jax_ci" if os.environ.get("CI") else "routing_jax")

_SCRATCH = pytest.StashKey[tempfile.TemporaryDirectory]()
_REAL_DATA_DIR = pytest.StashKey[str | None]()
_PRIVATE_DIRS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TFDS_DATA_DIR")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--slow runs the slow tests too; so does the environment variable CI."""
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config: pytest.Config) -> None:
    """Gives the tests caches and a TFDS default of their own, and hides the user's data.

    This comes before any test module is imported, as libraries read these variables on import.
    """
    scratch = tempfile.TemporaryDirectory(prefix="routing_jax_tests_")
    config.stash[_SCRATCH] = scratch
    for name in _PRIVATE_DIRS:
        directory = Path(scratch.name) / name.lower()
        directory.mkdir()
        os.environ[name] = str(directory)
    # Only tests that ask for real data may see it; the others test what happens without.
    config.stash[_REAL_DATA_DIR] = os.environ.pop("ROUTING_JAX_DATA_DIR", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the private directories."""
    config.stash[_SCRATCH].cleanup()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips slow tests, and tests whose real data is not there unless real data is required."""
    if item.get_closest_marker("slow") and not (item.config.option.slow or os.environ.get("CI")):
        pytest.skip("slow: run with --slow")
    reason = _missing_real_data(item)
    if reason and os.environ.get("ROUTING_JAX_REQUIRE_REAL_DATA"):
        pytest.fail(f"{reason}, and ROUTING_JAX_REQUIRE_REAL_DATA is set", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture
def real_data_dir(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's $ROUTING_JAX_DATA_DIR, set again; for tests marked real_data("<set>", ...)."""
    if request.node.get_closest_marker("real_data") is None:
        pytest.fail("mark the test with real_data to use real_data_dir", pytrace=False)
    directory = request.config.stash[_REAL_DATA_DIR]
    monkeypatch.setenv("ROUTING_JAX_DATA_DIR", directory)
    return Path(directory)


def _missing_real_data(item: pytest.Item) -> str | None:
    marker = item.get_closest_marker("real_data")
    if marker is None:
        return None
    directory = item.config.stash[_REAL_DATA_DIR]
    if not directory:
        return "ROUTING_JAX_DATA_DIR is not set"
    missing = [name for name in marker.args if not (Path(directory) / name).is_dir()]
    return f"ROUTING_JAX_DATA_DIR has no {', '.join(missing)}" if missing else None
