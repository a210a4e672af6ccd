"""Centers of units behind norms, gates, attention, windows and borders that repeat."""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxrf
from jaxrf.errors import InputError
from jaxrf.geometry.row import Row
from tests.interpret.test_layouts import conv


def attention(x, mix=jax.nn.softmax):
    """(..., token, feature): every token sees all."""
    return mix(x @ x.swapaxes(-1, -2)) @ x


def over_positions(mix):
    return lambda x: mix(x.reshape(x.shape[0], -1, x.shape[-1])).reshape(x.shape)


def space(x):
    return tuple(range(1, x.ndim - 1))


def group_norm(x):
    groups = x.reshape(*x.shape[:-1], 2, -1)
    axes = (*space(x), groups.ndim - 1)
    return ((groups - groups.mean(axes, keepdims=True)) / (1 + groups.var(axes, keepdims=True))).reshape(x.shape)


GATES = {
    "group norm": group_norm,
    "instance norm": lambda x: x - x.mean(space(x), keepdims=True),
    "squeeze and excitation": lambda x: x * jax.nn.sigmoid(x.mean(space(x), keepdims=True)),
    "batch norm": lambda x: x - x.mean((0, *space(x)), keepdims=True),
    "maximum": lambda x: x - x.max(space(x), keepdims=True),
    "attention": over_positions(attention),
    "attention gate": lambda x: x * jax.nn.sigmoid(over_positions(attention)(x)),
    "linear attention": over_positions(lambda x: x @ (x.swapaxes(-1, -2) @ x)),
}


def residual(gate):
    def net(x):
        x = gate(conv(x, 3, 2))
        return conv(x, 1, 2) + conv(gate(conv(x, 3, 2)), 3)

    return net


NETS = {
    "stack": lambda gate: lambda x: conv(gate(conv(gate(conv(x)), 2, 2, "VALID"))),
    "one-sided": lambda gate: (
        lambda x: conv(gate(conv(x, 3, 1, [(2, 0)] * (x.ndim - 2))), 3, 2, [(0, 1)] * (x.ndim - 2))
    ),
    "misaligned": residual,
    "branches": lambda gate: lambda x: conv(jnp.concatenate([conv(gate(x)), gate(conv(x, 5)), gate(x)], -1)),
    "upsampling": lambda gate: lambda x: gate(x) + jax.image.resize(gate(conv(x, 2, 2, "VALID")), x.shape, "linear"),
}


def centers(model, shape):
    row = jaxrf.trf(model, shape)[-1]
    return np.array([row.center(unit) for unit in np.ndindex(*row.unit_shape)]), row


@pytest.mark.parametrize("net", NETS)
def test_what_is_global_moves_no_center(net):
    """A norm, a gate or attention in a local network leaves all centers where they are."""
    for (name, gate), shape in zip(GATES.items(), itertools.cycle([(20, 4), (12, 20, 4)])):
        found, row = centers(NETS[net](gate), shape)
        assert row.global_axes and row.stride == (None,) * (len(shape) - 1)
        np.testing.assert_array_equal(found, centers(NETS[net](lambda x: x), shape)[0], err_msg=name)


def tokens(x, first):
    """Patches of 4 as a list, behind `first` tokens that are not patches."""
    x = conv(x, 4, 4, "VALID")
    x = x.reshape(x.shape[0], -1, x.shape[-1])
    return jnp.concatenate([jnp.zeros((x.shape[0], first, x.shape[-1])), x], 1)


@pytest.mark.parametrize("first", [0, 1, 5])
@pytest.mark.parametrize("shape", [(20, 2), (20, 28, 2), (12, 4, 20, 2)], ids=["1-D", "2-D", "3-D"])
def test_tokens_lie_at_their_patches(shape, first):
    """Behind attention the middle unit is that of the grid; class tokens and registers lie nowhere."""
    grid = np.array([n // 4 for n in shape[:-1]])
    found, row = centers(lambda x: (y := tokens(x, first)) + attention(y), shape)
    patches = 4 * np.array(list(np.ndindex(*grid))) + 1.5
    np.testing.assert_array_equal(found[first:], patches)
    several = grid > 1  # with one patch along an axis, nothing lies anywhere else
    assert np.isnan(found[:first, several]).all()
    assert row.center_unit == (first + np.ravel_multi_index(tuple(grid // 2), grid),)


def in_windows(x, size=2):
    """Attention within windows, without a skip."""
    b, h, w, c = x.shape
    x = x.reshape(b, h // size, size, w // size, size, c).transpose(0, 1, 3, 2, 4, 5).reshape(-1, size * size, c)
    x = attention(x).reshape(b, h // size, w // size, size, size, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(b, h, w, c)


def shifted(x):
    return jnp.roll(in_windows(jnp.roll(x, (-1, -1), (1, 2))), (1, 1), (1, 2))


@pytest.mark.parametrize(
    "model",
    [
        in_windows,
        lambda x: (y := x + in_windows(x)) + shifted(y),
        shifted,
        lambda x: attention(x.reshape(-1, *x.shape[2:])).reshape(x.shape),
        over_positions(attention),
        lambda x: x * x.mean(1, keepdims=True) * x.mean(2, keepdims=True),
        lambda x: jnp.concatenate([x, jax.image.resize(x.mean((1, 2), keepdims=True), x.shape, "nearest")], -1),
    ],
    ids=["windows", "shifted windows", "shifted only", "axial", "all", "coordinate gates", "pyramid"],
)
def test_units_of_a_group_lie_at_their_own_positions(model):
    """Windows, rows and columns that are mixed have one box for many units, and each has its own center."""
    found, row = centers(model, (6, 10, 2))
    np.testing.assert_array_equal(found, list(np.ndindex(6, 10)))
    assert row.center_unit == (2, 4)


def loop(x):
    """A recurrent network without a skip."""
    return lax.scan(lambda h, t: (jnp.tanh(h + t),) * 2, jnp.zeros(x[:, 0].shape), x.swapaxes(0, 1))[1].swapaxes(0, 1)


MIX = np.ones((9, 9), np.float32)


@pytest.mark.parametrize(
    "model",
    [
        lambda x: x.mean(1),
        lambda x: x.reshape(x.shape[0], -1),
        lambda x: jnp.sort(x, 1),
        lambda x: jnp.einsum("bnc,nm->bmc", x, MIX),
        lambda x: tokens(jnp.pad(x, ((0, 0), (0, 3), (0, 0))), 1)[:, 0] + x.sum(1),
        lambda x: sum(x[:, t] for t in range(9)),
        loop,
        lambda x: lax.associative_scan(jnp.add, x, axis=1),
    ],
    ids=["pooled", "flat", "sorted", "mixed", "class token", "sum", "recurrent", "parallel sum"],
)
def test_units_without_a_local_path_have_no_center(model):
    """Then the middle unit is that of the layer's own axes, and what needs a center says why it cannot be."""
    row = jaxrf.trf(model, (9, 2))[-1]
    assert all(np.isnan(row.center(unit)).all() for unit in np.ndindex(*row.unit_shape))
    assert row.center_unit == tuple((n - 1) // 2 for n in row.unit_shape)
    with pytest.raises(
        InputError, match=r"A test needs the center of unit \(.*\) of layer .* no local path says where"
    ):
        row.check_centers([row.center_unit], "A test", "Do without.")


def test_what_lies_beside_a_skip_needs_none():
    """A recurrence and a parallel sum with a skip lie where the skip does, and one step of a loop where it reads."""
    for model in (lambda x: x + loop(x), lambda x: x + lax.associative_scan(jnp.add, x, axis=1)):
        assert centers(model, (9, 2))[0].ravel().tolist() == list(range(9))
    mapped = lambda x: lax.map(lambda t: t * t, x.swapaxes(0, 1)).swapaxes(0, 1)  # noqa: E731
    assert centers(mapped, (5, 2))[0].ravel().tolist() == list(range(5))


def test_sizes_that_differ_side_by_side_have_the_centers_of_both():
    """Tokens of two scales in one sequence lie at their own middles, behind a norm too."""
    for gate in (lambda x: x, group_norm):
        model = lambda x, gate=gate: gate(jnp.concatenate([conv(gate(x)), conv(gate(x), 9, 8, "VALID")], 1))  # noqa: E731
        assert centers(model, (25, 2))[0].ravel().tolist() == [*range(25), 4, 12, 20]


SIDES = [((1, 1), 3, 1), ((2, 0), 3, 2), ((0, 3), 2, 2), ((2, 1), 4, 3)]


@pytest.mark.parametrize("shape", [(17, 1), (9, 14, 1), (5, 6, 8, 1), (3, 1), (4, 2, 1)], ids=str)
def test_a_border_that_repeats_counts_as_zeros_do(shape):
    """Edge padding before convolutions of any stride leaves size, stride, padding, period, halo and centers."""

    def net(mode):
        def model(x):
            for amount, size, stride in SIDES:
                x = jnp.pad(x, ((0, 0), *[amount] * (x.ndim - 2), (0, 0)), mode)
                x = conv(x, size, stride, "VALID")
            return x

        return model

    zeros, edge = (jaxrf.trf(net(mode), shape)[-1] for mode in ("constant", "edge"))
    for name in ("unit_shape", "size", "stride", "padding", "period", "min_size", "exact", "smallest_input"):
        assert getattr(edge, name) == getattr(zeros, name), name
    assert edge.halo() == zeros.halo() and edge.halo(aligned=False) == zeros.halo(aligned=False)
    assert None not in edge.stride
    assert all(edge.center(unit) == zeros.center(unit) for unit in np.ndindex(*edge.unit_shape))


ONE_PATCH = [(4, 2), (6, 4, 4), (4, 8, 2), (4, 8, 4, 2)]
"""Inputs with axes on which the nets below come down to one position, beside others and alone."""


def sides(x, before, behind):
    """A kernel of 3 at every second position, with uneven padding."""
    return conv(x, 3, 2, [(before, behind)] * (x.ndim - 2))


UNEVEN = {
    "to the left": lambda gate: lambda x: sides(gate(sides(sides(x, 1, 0), 2, 0)), 2, 0),
    "to the right": lambda gate: lambda x: sides(gate(sides(gate(sides(x, 0, 1)), 0, 2)), 1, 1),
    "both": lambda gate: lambda x: (y := sides(sides(x, 1, 0), 2, 0)) + gate(conv(gate(y), 3, 1, "SAME")) + gate(y),
    "one branch": lambda gate: lambda x: conv(x, 1, 4) + sides(gate(sides(x, 1, 0)), 2, 0) + conv(x, 5, 4),
    "tokens": lambda gate: (
        lambda x: (y := gate(sides(sides(x, 1, 0), 2, 0)).reshape(x.shape[0], -1, x.shape[-1])) + attention(y)
    ),
}


@pytest.mark.parametrize("net", [*UNEVEN, "misaligned", "branches", "stack"])
def test_an_axis_of_one_patch_goes_on_behind_attention_as_without(net):
    """What is reshaped to tokens and back lies where it lay, on axes of one position too, whatever the borders are."""
    make = (UNEVEN | NETS)[net]
    without = [(shape, jaxrf.trf(make(lambda x: x), shape)[-1]) for shape in ONE_PATCH]
    for (name, gate), (shape, bare) in zip(GATES.items(), itertools.cycle(without)):
        row = jaxrf.trf(make(gate), shape)[-1]
        again = Row.from_dict(row.to_dict())
        for unit in np.ndindex(*row.unit_shape):
            assert bare.center(unit) == row.center(unit) == again.center(unit), (name, shape, unit)


def test_reshapes_there_and_back_change_nothing():
    """Size, stride, padding and boxes stay as they are where axes of one position go and come back, several too."""
    there = lambda x: x.reshape(x.shape[0], -1, x.shape[-1]).reshape(x.shape)  # noqa: E731
    for shape, net in itertools.product(ONE_PATCH, UNEVEN.values()):
        one, other = (jaxrf.trf(net(gate), shape)[-1] for gate in (lambda x: x, there))
        for name in ("size", "stride", "padding", "period"):
            assert getattr(one, name) == getattr(other, name), (name, shape)
        assert all(one.box(unit) == other.box(unit) for unit in np.ndindex(*one.unit_shape))


def regrouped(x):
    """Attention of two heads over tokens, whose axes go one by one and come back at once."""
    b, *grid, c = x.shape
    y = x.reshape(b, *grid[:-1], c) if grid[-1] == 1 else x
    y = y.reshape(b, -1, 2, c // 2).swapaxes(1, 2)
    return attention(y).swapaxes(1, 2).reshape(x.shape)


def one_by_one(x):
    """Axes of one position dropped in two steps; what came back at once may be either."""
    rank = x.ndim - 2
    y = jnp.squeeze(jnp.squeeze(x, -2), -2) if x.shape[1:-1] == (1,) * rank else x
    return y.reshape(x.shape)


AROUND = {
    "heads": regrouped,
    "a dummy axis": lambda x: conv(x.reshape(x.shape[0], 1, -1, x.shape[-1]), 1).reshape(x.shape),
    "behind another": lambda x: x.reshape(x.shape[0], -1, 1, x.shape[-1]).reshape(x.shape),
    "squeezed": lambda x: jnp.expand_dims(jnp.squeeze(x, -2), -2) if x.shape[-2] == 1 else x,
    "one by one": one_by_one,
}


@pytest.mark.parametrize("shape", [(6, 4, 4), (4, 4, 4)], ids=str)
def test_what_an_axis_of_one_patch_does_is_known_or_refused(shape):
    """Where axes of one position come back otherwise than they went, a center is that without attention, or none."""
    refused = set()
    for kind in ("to the left", "both"):
        bare = jaxrf.trf(UNEVEN[kind](lambda x: x), shape)[-1]
        for name, gate in AROUND.items():
            row = jaxrf.trf(UNEVEN[kind](gate), shape)[-1]
            for unit in np.ndindex(*row.unit_shape):
                right, found = (np.array(one.center(unit)) for one in (bare, row))
                assert (np.isnan(found) | (right == found)).all(), (name, kind, unit, right, found)
                if np.isnan(found).any():
                    refused.add(name)
                    with pytest.raises(InputError, match="has none: no local path says where it lies"):
                        row.check_centers([unit], "A test", "Do without.")
    assert refused == ({"one by one"} if shape == (4, 4, 4) else set())
