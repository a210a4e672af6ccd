"""From models to tangent programs: layers by name through every way to call a module, constants, threads, errors."""

from __future__ import annotations

import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx
from jax import lax

import jaxrf
from jaxrf import zoo
from jaxrf.adapters import adapt
from jaxrf.errors import InputError
from jaxrf.tangent.trace import trace
from tests.tangent.programs import program_of


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return x + nn.Conv(x.shape[-1], (3, 3), name="conv")(nn.gelu(x))


class Scanned(nn.Module):
    """Three blocks by `nn.scan`, optionally of `nn.remat`."""

    remat: bool = False

    @nn.compact
    def __call__(self, x):
        block = nn.remat(Block) if self.remat else Block
        x = nn.Conv(3, (1, 1), name="stem")(x)
        scan = nn.scan(lambda block, x, _: (block(x), None), variable_axes={"params": 0}, split_rngs={"params": True})
        x, _ = scan(block(name="block"), x, np.zeros(3))
        return x


class Twice(nn.Module):
    """One module called twice, and one shared between two others."""

    def setup(self):
        self.conv = nn.Conv(2, (3, 3))
        self.other = nn.Conv(2, (3, 1))

    def __call__(self, x):
        return self.other(self.conv(jnp.sin(self.conv(x))))


class NnxBlock(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 2, (3, 3), rngs=rngs)

    def __call__(self, x):
        return x + self.conv(nnx.gelu(x))


class NnxScanned(nnx.Module):
    """Three blocks by `nnx.scan`, each of them rematerialized."""

    def __init__(self, rngs):
        @nnx.vmap(in_axes=0, out_axes=0)
        def make(key):
            return NnxBlock(nnx.Rngs(key))

        self.blocks = make(jax.random.split(rngs.params(), 3))

    def __call__(self, x):
        @nnx.scan(in_axes=(nnx.Carry, 0), out_axes=nnx.Carry)
        def run(x, block):
            return nnx.remat(lambda block, x: block(x))(block, x)

        return run(x, self.blocks)


class NnxTwice(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(2, 2, (3, 3), rngs=rngs)
        self.tied = self.conv

    def __call__(self, x):
        return self.tied(jnp.sin(self.conv(x)))


def sizes(model) -> dict[str, tuple]:
    return {row.name: row.size for row in jaxrf.trf(model, (40, 41, 2))}


@pytest.mark.parametrize("remat", [False, True])
def test_linen_scan(remat):
    """The body of `nn.scan` is traced once; each iteration is a layer with its own field."""
    found = sizes(Scanned(remat))
    convs = {name: size for name, size in found.items() if name.endswith("conv") or "conv#" in name}
    assert list(convs.values()) == [(3, 3), (5, 5), (7, 7)]
    assert [name.rpartition("conv")[2] for name in convs] == ["", "#1", "#2"]
    assert found["output"] == (7, 7)


def test_linen_modules_called_twice():
    """A module that is called again is numbered in the order of calls."""
    assert sizes(Twice()) == {"conv": (3, 3), "conv#1": (5, 5), "other": (7, 5), "output": (7, 5)}


def test_nnx_scan_of_remat():
    """The same through `nnx.scan` and `nnx.remat`."""
    convs = {name: size for name, size in sizes(NnxScanned(nnx.Rngs(0))).items() if "conv" in name}
    assert list(convs.values()) == [(3, 3), (5, 5), (7, 7)]


def test_nnx_shared_modules():
    """A module that stands at two places is one module called twice."""
    found = sizes(NnxTwice(nnx.Rngs(0)))
    assert list(found.values()) == [(3, 3), (5, 5), (5, 5)]


def wrapped(how: str):
    """A bilinear resize and a convolution, whose matrix is computed inside of another program."""

    def step(x):
        y = jax.image.resize(x, (1, 14, 22, 2), "bilinear")
        return lax.reduce_window(y, 0.0, lax.add, (1, 3, 3, 1), (1, 2, 2, 1), "SAME")

    return {
        "plain": step,
        "jit": jax.jit(step),
        "remat": jax.checkpoint(lambda x: step(jnp.sin(x))),
        "scan": lambda x: lax.fori_loop(0, 1, lambda i, y: step(y), x),
        "scan of remat": lambda x: lax.scan(lambda y, _: (jax.checkpoint(step)(y), None), x, None, length=1)[0],
    }[how]


@pytest.mark.parametrize("how", ["plain", "jit", "remat", "scan", "scan of remat"])
def test_constants_are_folded(how):
    """The matrix of a resize is known wherever it is computed, so a decoder is not global."""
    program = program_of(wrapped(how), 7, 11, 2)
    matrices = [eqn.known(i) for eqn in program.linear if eqn.primitive == "dot_general" for i in (0, 1)]
    assert sum(m is not None and m.shape in ((7, 14), (11, 22)) for m in matrices) == 2
    row = jaxrf.trf(wrapped(how), (7, 11, 2))[-1]
    assert row.size == (3, 3)
    assert row.stride == (1, 1)
    assert row.exact


def test_weights_are_no_constants():
    """What depends on variables or on the image is unknown, and so is what is drawn at random."""

    def model(w, x):
        noise = jax.random.normal(jax.random.key(0), (1, 5, 1))
        return (x * w) * jnp.abs(x) * noise * jnp.arange(5.0)[:, None]

    program = trace(adapt(model, (5, 1), variables=np.ones(())))
    known = [eqn.known(i) for eqn in program.linear for i in range(len(eqn.operands)) if i not in eqn.tangents]
    values = [value for value in known if value is not None]
    assert any(np.array_equal(np.ravel(value), np.arange(5)) for value in values)
    assert len(values) < len(known)


def test_layers_without_tangent_have_a_note():
    """Layers that the image does not reach, or that reach no output, are rows that say so, in their place."""

    def model(x):
        table = jaxrf.tap(jnp.ones((1, 4)), "embedding")
        y = jaxrf.tap(jnp.sin(x), "first")
        jaxrf.tap(jnp.cos(y), "unused")
        y = jaxrf.tap(lax.stop_gradient(y), "cut") + jaxrf.tap(y * 2, "second")
        return y + table[0, 0]

    table = jaxrf.trf(model, (5, 7, 1))
    notes = {row.name: row.notes for row in table}
    assert list(notes) == ["embedding", "first", "unused", "cut", "second", "output"]
    assert not notes["first"] and not notes["second"] and not notes["output"]
    for name in ("embedding", "unused", "cut"):
        assert notes[name] == ("no derivative of an output passes through it",)
    with pytest.raises(InputError, match="Layer 'unused' has no effective field: no derivative of an output passes"):
        jaxrf.erf(model, inputs=np.ones((1, 5, 7, 1), np.float32), layer="unused")


def test_outputs_without_dependence():
    """An output that the image does not reach is a row with a note; whole numbers are not outputs."""
    table = jaxrf.trf(lambda x: {"y": x * 2, "c": jnp.ones((1, 3)), "n": x.argmax()}, (5, 7, 1))
    assert [row.name for row in table] == ["output/c", "output/y"]
    assert table["output/c"].notes == ("does not depend on the input",)


def test_all_heads_keep_their_layers():
    """Layers that lead to one of several outputs only are there, each with its own field."""

    def model(x):
        y = jaxrf.tap(lax.reduce_window(x, 0.0, lax.add, (1, 3, 3, 1), (1, 1, 1, 1), "SAME"), "trunk")
        return jaxrf.tap(y * 2, "main"), jaxrf.tap(y.mean((1, 2)), "side")

    table = jaxrf.trf(model, (9, 11, 1))
    found = {row.name: row.size for row in table}
    assert found == {"trunk": (3, 3), "main": (3, 3), "side": (9, 11), "output/0": (3, 3), "output/1": (9, 11)}


def test_two_threads():
    """Two models that are traced at the same time, again and again, each get their own table."""
    models = {3: zoo.conv_stack(depth=3, width=4), 5: zoo.conv_stack(depth=5, kernel=5, width=4)}
    expected = {depth: jaxrf.trf(model, (33, 37, 3)).to_json() for depth, model in models.items()}
    found: dict[int, list[str]] = {depth: [] for depth in models}
    barrier = threading.Barrier(len(models))

    def work(depth):
        barrier.wait()
        for _ in range(4):
            found[depth].append(jaxrf.trf(models[depth], (33, 37, 3)).to_json())

    threads = [threading.Thread(target=work, args=(depth,)) for depth in models]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {depth: [expected[depth]] * 4 for depth in models}


def test_whole_numbers_have_no_derivative():
    """An input of an integer type is refused before anything is traced."""
    with pytest.raises(InputError, match=r"whole numbers \(int32\) .*which have no derivative"):
        jaxrf.trf(lambda x: x * 2, (5, 7, 1), dtype=np.int32)


def test_a_failing_model_says_so():
    """What a model raises is chained to an error that names the model and the input."""

    def broken(x):
        return x @ jnp.ones((2, 3))

    with pytest.raises(InputError, match=r"broken fails on inputs of shape \(1, 5, 7, 1\)") as caught:
        jaxrf.trf(broken, (5, 7, 1))
    assert isinstance(caught.value.__cause__, TypeError)


def test_programs_print():
    """A tangent program says what it maps and how long it is."""
    program = program_of(lambda x: jaxrf.tap(jnp.sin(x), "sine") * 2, 4, 5)
    assert repr(program) == (
        f"TangentProgram(float32[1,4,5] -> output; {len(program.linear)} linear equations, "
        f"{len(program.forward)} forward equations, 2 layers)"
    )
    assert repr(program.input) == "dfloat32[1,4,5]"


def test_garbage_collection_goes_on_after_a_trace_that_fails():
    """It pauses while a model is traced, and is switched on again where the model raises."""
    seen = []

    def fails(x):
        seen.append(gc.isenabled())
        if len(seen) > 1:  # the first call is that of the adapter
            raise ValueError("no")
        return x

    with pytest.raises(InputError, match="ValueError"):
        trace(adapt(fails, (5, 7, 1)))
    assert seen == [True, False] and gc.isenabled()


def test_garbage_collection_stays_off_where_the_caller_has_it_off():
    """A trace does not switch on what it did not switch off."""
    gc.disable()
    try:
        trace(adapt(jnp.tanh, (5, 7, 1)))
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_garbage_collection_goes_on_after_nested_traces_and_traces_in_threads():
    """A model that traces another one, and four threads at a time, leave it switched on."""
    inner = adapt(jnp.tanh, (5, 7, 1))

    def nesting(x):
        trace(inner)
        return x * 2

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: trace(adapt(nesting, (5, 7, 1))), range(8)))
    assert gc.isenabled()


@pytest.mark.parametrize(
    ("result", "found"), [(lambda x: None, "nothing"), (lambda x: (x > 0, x.argmax()), "bool, int32")]
)
def test_a_model_without_a_floating_output_is_explained(result, found):
    """What it returns instead is named."""
    with pytest.raises(InputError, match=rf"returns no array of a floating type, but {found}; .*before it is rounded"):
        trace(adapt(result, (5, 7, 1)))
