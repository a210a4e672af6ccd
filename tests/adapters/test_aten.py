"""Graphs of PyTorch's operations, evaluated without PyTorch."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf.adapters.aten import Graph, Node, Ref, rule_of, rules, run
from jaxrf.errors import InputError, UnknownPrimitiveError


def test_a_graph_is_a_model_with_layers():
    """Taps and layers of a graph are rows; two 3-wide convolutions with a stride of 2 between them see 7."""
    conv = (None, [2], [1], [1], False, [0], 1)
    graph = Graph(
        ("image", "a.weight", "b.weight"),
        (
            Node("y", "aten.convolution.default", (Ref("image"), Ref("a.weight"), *conv), layer="a"),
            Node("t", "tap", (Ref("y"),), {"name": "a", "kind": "Conv1d", "parameters": 6, "remark": ""}, "a"),
            Node("z", "aten.convolution.default", (Ref("t"), Ref("b.weight"), *conv), layer="b"),
        ),
        {"out": Ref("z")},
    )
    weights = {"a.weight": jnp.ones((1, 2, 3)), "b.weight": jnp.ones((1, 1, 3))}
    table = jaxrf.trf(lambda v, x: run(graph, {**v, "image": x}), (2, 16), variables=weights, spatial_axes=(2,))
    assert (table["a"].size, table["a"].kind) == ((3,), "Conv1d")
    assert (table[-1].name, table[-1].size, table[-1].stride) == ("output/out", (7,), (4,))


def test_an_operation_without_a_rule_is_named_with_its_layer_and_line():
    """Nothing is guessed."""
    node = Node("y", "aten.frobnicate.default", (Ref("x"),), layer="block.3", place="called at net.py:7 (forward)")
    with pytest.raises(UnknownPrimitiveError, match=r"'aten.frobnicate.default'.*'block.3', called at net.py:7"):
        run(Graph(("x",), (node,), Ref("y")), {"x": 1.0})


def test_a_shape_that_is_not_that_of_pytorch_is_refused():
    """A fault of a rule is not carried on."""
    node = Node("y", "aten.view.default", (Ref("x"), [3, 2]), kind=((2, 3), "float32"))
    with pytest.raises(InputError, match=r"shape \(3, 2\) here and \(2, 3\) in PyTorch"):
        run(Graph(("x",), (node,), Ref("y")), {"x": jnp.ones(6)})


def test_types_are_those_of_pytorch():
    """Whatever JAX promotes to, the value has the type that PyTorch gives it."""
    node = Node("y", "aten.add.Tensor", (Ref("x"), Ref("w")), kind=((2,), "bfloat16"))
    found = run(Graph(("x", "w"), (node,), Ref("y")), {"x": jnp.ones(2, jnp.bfloat16), "w": jnp.ones(())})
    assert found.dtype == jnp.bfloat16


def test_random_operations_draw_the_same_each_time_and_others_at_other_nodes():
    """A mask of dropout belongs to its place in the graph."""
    nodes = tuple(Node(name, "aten.dropout.default", (Ref("x"), 0.5, True)) for name in "ab")
    graph = Graph(("x",), nodes, [Ref("a"), Ref("b")])
    first, second = (run(graph, {"x": jnp.ones(64)}) for _ in range(2))
    assert (first[0] == second[0]).all() and (first[0] != first[1]).any()


def test_an_overload_goes_before_its_operation():
    """`max.dim` has two values, `max` one."""
    assert rule_of("aten.max.dim") is not rule_of("aten.max.default")
    assert rule_of("aten.add.Scalar") is rule_of("aten.add.Tensor") and rule_of("aten.max.other") is None


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [("clamp", 1.0, 1.0), ("hardtanh", 1.0, 0.0), ("relu", 0.0, 0.0), ("hardsigmoid", 3.0, 0.0), ("leaky_relu", 0.0, 0.01),
     ("hardswish", 3.0, 1.5)],
)  # fmt: skip
def test_derivatives_at_kinks_are_those_of_pytorch(name, at, slope):
    """Where a derivative jumps, PyTorch has chosen one."""
    bounds = (-1.0, 1.0) if name == "clamp" else ()
    assert float(jax.grad(lambda x: rules[name](x, *bounds))(at)) == pytest.approx(slope)


def test_a_transposed_convolution_spreads_its_kernel():
    """One input of value 1 in the middle: its kernel stands at twice its place less the padding, with its own signs."""
    x = jnp.zeros((1, 2, 3)).at[0, 1, 1].set(1)
    kernel = jnp.arange(1.0, 13).reshape(2, 2, 3)  # (in, out, positions)
    y = rules["convolution"](x, kernel, None, [2], [1], [1], True, [1], 1)
    assert y.shape == (1, 2, 6) and y[0].tolist() == [[0, 7, 8, 9, 0, 0], [0, 10, 11, 12, 0, 0]]


def test_windows_that_end_outside_count_with_ceil():
    """5 positions in windows of 2: the last holds one position, and its mean is that one."""
    x = jnp.arange(5.0).reshape(1, 1, 5)
    assert rules["avg_pool1d"](x, [2], [2], [0], True).tolist() == [[[0.5, 2.5, 4]]]
    assert rules["avg_pool1d"](x, [3], [2], [1], False, False).tolist() == [[[0.5, 2, 3.5]]]
    assert rules["max_pool1d"](x, [2], [2], [0], [1], True).tolist() == [[[1, 3, 4]]]


def test_windows_that_a_size_asks_for_overlap_by_one():
    """From 5 to 3: 0–1, 1–3, 3–4."""
    x = jnp.arange(5.0).reshape(1, 1, 5)
    assert np.allclose(rules["adaptive_avg_pool1d"](x, [3]), [[[0.5, 2, 3.5]]])
    assert rules["adaptive_max_pool1d"](x, [3])[0].tolist() == [[[1, 3, 4]]]


def test_resizing_to_twice_the_size():
    """A quarter and three quarters between neighbors; the ends are held; corners are kept where that is said."""
    x = jnp.asarray([[[0.0, 4, 8]]])
    assert np.allclose(rules["upsample_linear1d"](x, [6], False), [[[0, 1, 3, 5, 7, 8]]])
    assert np.allclose(rules["upsample_linear1d"](x, [5], True), [[[0, 2, 4, 6, 8]]])
    assert rules["upsample_nearest1d"](x, None, [2.0]).tolist() == [[[0, 0, 4, 4, 8, 8]]]


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_borders(mode):
    """Two positions before and one behind."""
    wanted = {"reflect": [3, 2, 1, 2, 3, 2], "replicate": [1, 1, 1, 2, 3, 3], "circular": [2, 3, 1, 2, 3, 1]}[mode]
    assert rules["pad"](jnp.asarray([[1.0, 2, 3]]), [2, 1], mode).tolist() == [wanted]


def test_other_values_at_some_positions():
    """As what is written into a slice of a tensor in place becomes."""
    x, new = jnp.zeros((2, 5)), jnp.ones((2, 2))
    assert rules["slice_scatter"](x, new, 1, 1, 3)[0].tolist() == [0, 1, 1, 0, 0]
    assert rules["slice_scatter"](x, new, 1, 1, 5, 2)[0].tolist() == [0, 1, 0, 1, 0]
    assert rules["select_scatter"](x, jnp.ones(5), 0, -1).tolist() == [[0] * 5, [1] * 5]
