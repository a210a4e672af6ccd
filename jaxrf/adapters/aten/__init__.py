"""Graphs of PyTorch's operations, evaluated with JAX.

Takes a `Graph`: nodes of `aten` operations, as `torch.export` writes a module down, in plain Python.
Yields what the module computes, as JAX sees it; never imports torch, so it is tested without.
Families of operations are one file each, entered in `rules`: one more operation is one function there, registered under
its name in PyTorch, without or with the overload (`add`, `max.dim`). What has no rule and a decomposition into others is
decomposed by PyTorch; the shape and the type that PyTorch gives to each value are checked after each node.
"""

from jaxrf.adapters.aten import creation, elementwise, layers, pooling, reductions, resizing, shaping
from jaxrf.adapters.aten.graph import Graph, Node, Ref, rule_of, rules, run

__all__ = [
    "Graph", "Node", "Ref", "creation", "elementwise", "layers", "pooling", "reductions", "resizing", "rule_of", "rules",
    "run", "shaping",
]  # fmt: skip
