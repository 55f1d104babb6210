"""The cache of compiled programs mends itself."""

import warnings

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache
from tiny_runs import TINY, start

from routing_jax.data.cache import user_cache_dir
from routing_jax.training.compilation import cached_compilations


@pytest.fixture
def cached(monkeypatch, tmp_path):
    """Compiles a function named `peculiar` anew, whatever its time; returns the cache's files."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def compile_anew():
        jax.clear_caches()
        compilation_cache.reset_cache()

        def peculiar(x):
            return jnp.sin(x) + 1

        with cached_compilations():
            jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
            jax.jit(peculiar)(jnp.ones(3)).block_until_ready()
        return list((user_cache_dir() / "compilation").glob("jit_peculiar-*-cache"))

    yield compile_anew
    monkeypatch.undo()
    with cached_compilations():
        compilation_cache.reset_cache()


def test_an_entry_that_was_cut_short_is_replaced(cached):
    (entry,) = cached()
    whole = entry.read_bytes()
    entry.write_bytes(whole[: len(whole) // 2])
    assert cached() == []
    assert cached() == [entry]
    assert cached() == [entry]


def test_other_warnings_are_passed_on():
    with pytest.warns(UserWarning, match="of something else"), cached_compilations():
        warnings.warn("of something else", stacklevel=1)


def test_a_run_compiles_its_training_step_once(tmp_path, caplog):
    # Three segments of different lengths with evaluations and checkpoints between them.
    with jax.log_compiles():
        assert start(tmp_path / "run", *TINY) == 0
    began = [record.message for record in caplog.records if "Compiling" in record.message]
    assert sum("segment" in message.split(" with ")[0] for message in began) == 1
