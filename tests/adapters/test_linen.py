"""Linen modules as subjects: what is computed, what is tapped, what is refused."""

from __future__ import annotations

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from jaxrf.adapters import adapt, check_finite, intercepting
from jaxrf.adapters.tap import recording
from jaxrf.errors import InputError


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.relu(nn.Conv(4, (3, 3), name="conv")(x))


class Step(nn.Module):
    @nn.compact
    def __call__(self, x, _):
        return nn.Conv(4, (3, 3), name="conv")(x), None


class Child(Block):
    @nn.compact
    def __call__(self, x):
        return super().__call__(x) + 1


class Lifted(nn.Module):
    """Every lifting of Linen once, and a module that is called twice."""

    def setup(self):
        self.shared = Block()

    @nn.compact
    def __call__(self, x):
        x = nn.remat(Block)(name="remat")(self.shared(x))
        x = nn.jit(Block)(name="jit")(x)
        over = {"params": 0}
        x, _ = nn.scan(Step, variable_axes=over, split_rngs={"params": True}, length=3)(name="scan")(x, None)
        x = Child(name="child")(self.shared(x))
        return nn.Sequential([nn.Conv(2, (1, 1)), nn.relu], name="chain")(x)


class Normed(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool, scale: float = 1.0):
        x = nn.BatchNorm(use_running_average=not train, name="norm")(nn.Conv(4, (3, 3), name="conv")(x))
        return scale * nn.Dropout(0.5, deterministic=not train)(x)


class Auto(nn.Module):
    """A setup-style model with methods besides `__call__`."""

    def setup(self):
        self.encoder = Encoder()
        self.decoder = nn.Conv(3, (1, 1))

    def encode(self, x):
        return self.encoder.features(x)

    def __call__(self, x):
        return self.decoder(self.encode(x))


class Encoder(nn.Module):
    def setup(self):
        self.conv = nn.Conv(4, (3, 3))

    def features(self, x):
        return self.activate(self.conv(x))

    def activate(self, x):
        return nn.tanh(x)


class Recurrent(nn.Module):
    @nn.compact
    def __call__(self, x):
        cell = nn.LSTMCell(4, name="lstm")
        carry, y = cell(cell.initialize_carry(jax.random.key(0), x[:, 0].shape), x[:, 0])
        return y + carry[0]


def taps_of(subject):
    """The record of the taps of one abstract run, and the names of their calls in order."""
    names = []
    with recording() as record, intercepting(lambda name, x: names.append(name) or x):
        jax.eval_shape(lambda v, x: subject.fn(v, x), subject.abstract, subject.images(2))
    return record.taps, names


def weights(model, shape, **options):
    return model.init(jax.random.key(3), jnp.ones((1, *shape)), **options)


def test_without_variables_only_shapes_are_known():
    """A Linen module alone gives abstract variables of the same shapes as its init, and no concrete ones."""
    subject = adapt(Block(), (5, 7, 3))
    assert subject.variables is None
    assert subject.abstract["params"]["conv"]["kernel"].shape == (3, 3, 3, 4)
    assert (subject.name, subject.input_shape, subject.spatial_axes) == ("Block", (5, 7, 3), (1, 2))


def test_fn_is_apply():
    """The function of the subject gives the bits of `module.apply`."""
    variables, image = weights(Block(), (5, 7, 3)), jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    subject = adapt(Block(), (5, 7, 3), variables=variables)
    assert subject.variables is variables
    np.testing.assert_array_equal(subject.fn(variables, image), Block().apply(variables, image))


def test_initialize_draws_as_the_module_does():
    """Random variables are those of `module.init` under the same key, and differ between keys."""
    subject = adapt(Block(), (5, 7, 3))
    first, second = subject.initialize(jax.random.key(3)), subject.initialize(jax.random.key(4))
    expected = weights(Block(), (5, 7, 3))
    np.testing.assert_allclose(
        first["params"]["conv"]["kernel"], expected["params"]["conv"]["kernel"], rtol=1e-6, atol=0
    )
    assert not np.array_equal(first["params"]["conv"]["kernel"], second["params"]["conv"]["kernel"])


def test_taps_stand_on_every_submodule_through_all_liftings():
    """remat, jit, scan, super() and shared modules give one tap per call and path, and the root gives none."""
    record, calls = taps_of(adapt(Lifted(), (5, 7, 3 + 1)))
    assert list(record) == [
        "shared/conv", "shared", "remat/conv", "remat", "jit/conv", "jit",
        "scan/conv", "scan[0]", "child/conv", "child", "Conv_0", "chain",
    ]  # fmt: skip
    assert calls.count("shared") == 2
    assert calls.count("child") == 1


def test_taps_know_kind_and_parameters():
    """A tap says the class of its module, and how many parameters lie under its path."""
    record, _ = taps_of(adapt(Lifted(), (5, 7, 4)))
    assert (record["remat/conv"].kind, record["remat/conv"].parameters) == ("Conv", 3 * 3 * 4 * 4 + 4)
    assert (record["remat"].kind, record["remat"].parameters) == ("Block", 3 * 3 * 4 * 4 + 4)
    assert record["scan/conv"].parameters == 3 * (3 * 3 * 4 * 4 + 4)
    assert record["chain"].parameters == 0


def test_other_methods_are_tapped_where_called_from_outside():
    """A method called by another module is named `path.method`; one that a module calls on itself is not a layer."""
    record, _ = taps_of(adapt(Auto(), (5, 7, 3)))
    assert list(record) == ["encoder/conv", "encoder.features", "decoder"]


def test_leaves_of_a_module_that_returns_a_tree_are_named_apart():
    """An LSTM cell's carry and output are three layers; its initial carry is none."""
    record, _ = taps_of(adapt(Recurrent(), (5, 7)))
    assert [name for name in record if name.startswith("lstm") and "/" not in name] == [
        "lstm[0][0]", "lstm[0][1]", "lstm[1]",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["encode", Auto.encode, lambda model, x: model.encoder.features(x)])
def test_method_is_called_by_name_or_as_function(method):
    """`method=` stands for the method's result, and the variables of the whole model still fit."""
    variables, image = weights(Auto(), (5, 7, 3)), jax.random.normal(jax.random.key(0), (1, 5, 7, 3))
    subject = adapt(Auto(), (5, 7, 3), variables=variables, method=method)
    np.testing.assert_array_equal(subject.fn(variables, image), Auto().apply(variables, image, method="encode"))


def test_train_mode_drops_updates_and_draws_dropout_from_a_fixed_key():
    """Batch statistics and dropout in train mode give the same output on every call, without updates."""
    variables = weights(Normed(), (5, 7, 3), train=False)
    subject = adapt(Normed(), (5, 7, 3), variables=variables, apply_kwargs={"train": True})
    image = jax.random.normal(jax.random.key(0), (2, 5, 7, 3))
    first, second = subject.fn(variables, image), subject.fn(variables, image)
    assert first.shape == (2, 5, 7, 4)
    assert 0.3 < float((first == 0).mean()) < 0.7
    np.testing.assert_array_equal(first, second)


def test_apply_kwargs_may_hold_rngs_and_mutable():
    """A key given for dropout is the one used, and mutable collections asked for are dropped from the outputs."""
    variables, image = weights(Normed(), (5, 7, 3), train=False), jnp.ones((1, 5, 7, 3))
    outputs = []
    for seed in (5, 6):
        options = {"train": True, "rngs": {"dropout": jax.random.key(seed)}, "mutable": ["batch_stats"]}
        outputs.append(adapt(Normed(), (5, 7, 3), variables=variables, apply_kwargs=options).fn(variables, image))
    expected, _ = Normed().apply(variables, image, True, rngs={"dropout": jax.random.key(6)}, mutable=["batch_stats"])
    np.testing.assert_array_equal(outputs[1], expected)
    assert not np.array_equal(outputs[0], outputs[1])


def test_other_arguments_stand_around_the_image():
    """The Ellipsis of `args` is replaced by the image, and the rest is passed as it is."""
    variables, image = weights(Normed(), (5, 7, 3), train=False), jnp.ones((1, 5, 7, 3))
    subject = adapt(Normed(), (5, 7, 3), variables=variables, args=(..., False, 2.0))
    np.testing.assert_array_equal(subject.fn(variables, image), Normed().apply(variables, image, False, 2.0))


def test_taps_change_nothing():
    """A recorded model compiles to the same operations, and gives the same bits."""
    subject = adapt(Lifted(), (5, 7, 4))
    variables, image = subject.initialize(jax.random.key(0)), jax.random.normal(jax.random.key(1), (2, 5, 7, 4))
    plain = jax.jit(lambda v, x: subject.fn(v, x)).lower(variables, image).compile()
    with recording() as record:
        tapped = jax.jit(lambda v, x: subject.fn(v, x)).lower(variables, image).compile()
    assert len(record.taps) == 12
    assert operations(tapped) == operations(plain)
    np.testing.assert_array_equal(tapped(variables, image), plain(variables, image))


def operations(compiled):
    """The compiled module's lines, without the names of source operations."""
    lines = (line.partition(", metadata=")[0] for line in compiled.as_text().splitlines())
    return [line for line in lines if " = " in line]


def test_two_threads_do_not_meet():
    """Two models traced at once, each in its thread, record their own layers only."""
    subjects = [adapt(Lifted(), (5, 7, 4)), adapt(Auto(), (5, 7, 3))]
    barrier, found = threading.Barrier(2), [[], []]

    def trace(number):
        for _ in range(3):
            barrier.wait()
            found[number].append(len(taps_of(subjects[number])[0]))

    threads = [threading.Thread(target=trace, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[12] * 3, [3] * 3]


class Identity(nn.Module):
    """A module that never calls `super().__init__()`."""

    def __init__(self, *functions):
        self.functions = functions

    def __call__(self, x):
        for function in self.functions:
            x = function(x)
        return x


class Scale(nn.Module):
    factor: float

    def __call__(self, x):
        return self.factor * x


def test_modules_without_a_place_pass_untapped():
    """What is not bound has no path and is not a layer; the modules that it calls are."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = Identity(nn.Conv(4, (3, 3), name="conv"), nn.relu)(x)
            return nn.Conv(2, (1, 1), name="head")(Scale(2.0, parent=None)(x))

    subject = adapt(Net(), (5, 7, 3))
    assert list(taps_of(subject)[0]) == ["conv", "head"]
    variables, image = weights(Net(), (5, 7, 3)), jnp.ones((1, 5, 7, 3))
    np.testing.assert_array_equal(subject.fn(variables, image), Net().apply(variables, image))


def test_a_class_is_refused():
    """A Linen class instead of a module says to call it."""
    with pytest.raises(InputError, match=r"Block is a class; needed is a module. Pass Block\(\.\.\.\)"):
        adapt(Block, (5, 7, 3))


def test_a_failing_model_says_its_input():
    """What the model raises becomes an error that names the input, quotes it, and chains it."""
    with pytest.raises(
        InputError, match=r"Normed fails on inputs of shape \(1, 5, 7, 3\), float32: .*'train'"
    ) as caught:
        adapt(Normed(), (5, 7, 3))
    assert isinstance(caught.value.__cause__, TypeError)


def test_wrong_channels_name_the_first_weight_that_differs():
    """Weights for three channels and inputs of four name the kernel, with both shapes."""
    message = (
        r"on inputs of shape \(1, 5, 7, 4\): 'params/conv/kernel' has shape \(3, 3, 3, 4\); needed is \(3, 3, 4, 4\)"
    )
    with pytest.raises(InputError, match=message):
        adapt(Block(), (5, 7, 4), variables=weights(Block(), (5, 7, 3)))


def test_wrong_rank_says_the_input_shape():
    """Images without a channel axis do not fit the weights, and the message says which shape was given."""
    with pytest.raises(InputError, match=r"do not fit Block on inputs of shape \(1, 5, 7\)"):
        adapt(Block(), (5, 7), variables=weights(Block(), (5, 7, 3)))


def test_params_without_their_collection_are_named():
    """Handing in the params alone says what is missing and what was found instead."""
    with pytest.raises(InputError, match=r"'params/conv/bias' is missing.*At the top level they hold \['conv'\]"):
        adapt(Block(), (5, 7, 3), variables=weights(Block(), (5, 7, 3))["params"])


def test_partitioned_weights_fit():
    """Weights in flax's metadata boxes fit, boxed or not."""

    class Boxed(nn.Module):
        @nn.compact
        def __call__(self, x):
            init = nn.with_partitioning(nn.initializers.lecun_normal(), (None, None, None, "model"))
            return nn.Conv(4, (3, 3), kernel_init=init)(x)

    boxed = weights(Boxed(), (5, 7, 3))
    plain = nn.meta.unbox(boxed)
    outputs = [adapt(Boxed(), (5, 7, 3), variables=v).fn(v, jnp.ones((1, 5, 7, 3))) for v in (boxed, plain)]
    np.testing.assert_array_equal(*outputs)


def test_weights_that_are_not_finite_are_named():
    """NaN and infinite weights raise with the name of their leaf and how many there are."""
    variables = weights(Block(), (5, 7, 3))
    check_finite(variables)
    kernel = variables["params"]["conv"]["kernel"].at[0, 0, 0, :2].set(jnp.nan).at[1, 0, 0, 0].set(jnp.inf)
    variables["params"]["conv"]["kernel"] = kernel
    message = r"weight 'params/conv/kernel' has 2 NaN and 1 infinite values of 108"
    with pytest.raises(InputError, match=message):
        check_finite(variables)


def test_integer_leaves_and_keys_are_finite():
    """Counters and random keys among the variables are passed over."""
    check_finite({"count": jnp.arange(3), "key": jax.random.key(0), "scale": 1.0, "half": jnp.ones(2, jnp.bfloat16)})
