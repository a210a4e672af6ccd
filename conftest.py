"""Set up before any test, or any doctest, imports JAX."""

import os
import tempfile

# Programs of tests run once and are small: compiling them takes a third of the time without LLVM's optimizations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Many tests start over with the network of another one, and JAX compiles it anew: here once for a run of all tests,
# its workers and the processes that tests start. Nothing is left of it behind them.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="jaxrf-tests-")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
