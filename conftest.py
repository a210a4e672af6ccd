"""Set up before any test, or any doctest, imports JAX."""

import os
import tempfile

# Programs of tests run once and are small: compiling them takes a third of the time without LLVM's optimizations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
# Many tests start over with the network of another one, and JAX compiles it anew: here once for all tests of a process
# and the processes that they start. Nothing is left of it behind them.
CACHE = "JAX_COMPILATION_CACHE_DIR"
if CACHE not in os.environ:
    compiled = tempfile.TemporaryDirectory(prefix="jaxrf-tests-")
    os.environ[CACHE] = compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
elif worker := os.environ.get("PYTEST_XDIST_WORKER"):  # in a folder of its own: JAX's files are not written at once
    os.environ[CACHE] = os.path.join(os.environ[CACHE], worker)
