"""Set up before any test, or any doctest, imports JAX."""

import os

# Programs of tests run once and are small: compiling them takes a third of the time without LLVM's optimizations.
os.environ.setdefault("XLA_FLAGS", "--xla_backend_optimization_level=0")
