"""What holds for every test: strict JAX, isolated caches, reproducible properties, real data.

Warnings are errors by setup.cfg. Real data comes from two variables: $ROUTING_JAX_DATA_DIR holds
prepared sets, $ROUTING_JAX_ORIGINALS_DIR one folder per set with its original files, as
`routing_jax.data.prepare --from` takes them. No test asks the network.
"""

import os
import socket
import tempfile
from collections.abc import Iterator
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
_NOBODY = pytest.StashKey[socket.socket]()
_VARIABLES = {"real_data": "ROUTING_JAX_DATA_DIR", "originals": "ROUTING_JAX_ORIGINALS_DIR"}
"""By the marker of the tests that need what they name."""
_DIRECTORIES = pytest.StashKey[dict[str, str | None]]()
_QUICK_COMPILATION = "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false"
"""Of the jaxlib in constraints.txt; one that does not know a flag says so and ends."""
_PRIVATE_DIRS = ("XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "TFDS_DATA_DIR")


def pytest_addoption(parser: pytest.Parser) -> None:
    """--slow runs the slow tests too."""
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config: pytest.Config) -> None:
    """Gives the tests caches and a TFDS default of their own, and hides the user's data.

    This comes before any test module is imported, as libraries read these variables on import.
    """
    if not config.option.slow and not hasattr(config, "workerinput"):
        _compile_quickly()  # the workers of pytest-xdist inherit it
    scratch = tempfile.TemporaryDirectory(prefix="routing_jax_tests_")
    config.stash[_SCRATCH] = scratch
    for name in _PRIVATE_DIRS:
        directory = Path(scratch.name) / name.lower()
        directory.mkdir()
        os.environ[name] = str(directory)
    # Only tests that ask for real data may see it; the others test what happens without. A worker
    # of pytest-xdist inherits an environment without these variables, and is told.
    told = getattr(config, "workerinput", {}).get("directories")
    config.stash[_DIRECTORIES] = told or {
        marker: os.environ.pop(name, None) for marker, name in _VARIABLES.items()
    }
    _close_the_network(config)
    # Many tests compile the same program; each of them once is most of the time of a test run.
    jax.config.update("jax_compilation_cache_dir", str(Path(scratch.name) / "compilations"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def _compile_quickly() -> None:
    """Has XLA optimise little: most tests run a program a few times, and compiling is their cost.

    Slow tests run what users run. Flags that are set already come last, and win.
    """
    os.environ["XLA_FLAGS"] = f"{_QUICK_COMPILATION} {os.environ.get('XLA_FLAGS', '')}".strip()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: object) -> None:
    """Tells a worker of pytest-xdist where real data are."""
    node.workerinput["directories"] = node.config.stash[_DIRECTORIES]


def _close_the_network(config: pytest.Config) -> None:
    """Has downloads ask a port of this machine that nobody listens on, and no proxy."""
    nobody = config.stash[_NOBODY] = socket.socket()
    nobody.bind(("127.0.0.1", 0))
    os.environ["ROUTING_JAX_MIRROR"] = f"http://127.0.0.1:{nobody.getsockname()[1]}"
    os.environ["no_proxy"] = "127.0.0.1"


def pytest_unconfigure(config: pytest.Config) -> None:
    """Removes the private directories."""
    config.stash[_NOBODY].close()
    config.stash[_SCRATCH].cleanup()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips slow tests, and tests whose real data is not there unless real data is required."""
    if item.get_closest_marker("slow") and not item.config.option.slow:
        pytest.skip("slow: run with --slow")
    reason = _missing_real_data(item)
    if reason and os.environ.get("ROUTING_JAX_REQUIRE_REAL_DATA"):
        pytest.fail(f"{reason}, and ROUTING_JAX_REQUIRE_REAL_DATA is set", pytrace=False)
    if reason:
        pytest.skip(reason)


@pytest.fixture(autouse=True, scope="module")
def _forget_programs() -> Iterator[None]:
    """Frees a module's compiled programs, which would add up to gigabytes.

    They stay on disk, however soon they were compiled; a run asks for longer ones only.
    """
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    yield
    jax.clear_caches()


@pytest.fixture
def real_data_dir(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's $ROUTING_JAX_DATA_DIR, set again; for tests marked real_data("<set>", ...)."""
    directory = _directory(request, "real_data")
    monkeypatch.setenv("ROUTING_JAX_DATA_DIR", str(directory))
    return directory


@pytest.fixture
def originals_dir(request: pytest.FixtureRequest) -> Path:
    """The user's $ROUTING_JAX_ORIGINALS_DIR; for tests marked originals("<set>", ...)."""
    return _directory(request, "originals")


def _directory(request: pytest.FixtureRequest, marker: str) -> Path:
    if request.node.get_closest_marker(marker) is None:
        pytest.fail(f"mark the test with {marker} to use this directory", pytrace=False)
    return Path(request.config.stash[_DIRECTORIES][marker])


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work directory of a finished tiny run; tests leave it as it is."""
    from tiny_runs import TINY, start

    workdir = tmp_path_factory.mktemp("runs") / "finished"
    assert start(workdir, *TINY) == 0
    return workdir


def _missing_real_data(item: pytest.Item) -> str | None:
    for name, variable in _VARIABLES.items():
        marker = item.get_closest_marker(name)
        directory = item.config.stash[_DIRECTORIES][name]
        if marker is None:
            continue
        if not directory:
            return f"{variable} is not set"
        missing = [name for name in marker.args if not (Path(directory) / name).is_dir()]
        if missing:
            return f"{variable} has no {', '.join(missing)}"
    return None
