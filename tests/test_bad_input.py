"""Values that fit nowhere end in the house's errors, before anything is traced, and with what is needed."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxrf
from jaxrf import zoo
from jaxrf.errors import InputError, JaxrfError, StoreError

MODEL = zoo.conv_stack(depth=1, width=2)
X = np.zeros((2, 8, 9, 3), np.float32)
NAN = float("nan")


@pytest.fixture(scope="module")
def result():
    return jaxrf.erf(MODEL, MODEL.init(jax.random.key(0), X), X + 1)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 2.5}, "seeds=2.5 does not fit. It is a count of at least 1"),
        ({"seeds": "0:4"}, "seeds='0:4' does not fit"),
        ({"seeds": [0.5, 1.7]}, r"seeds=\[0.5, 1.7\] does not fit"),
        ({"seeds": True}, "seeds=True does not fit"),
        ({"seeds": [True]}, r"seeds=\[True\] does not fit"),
        ({"seeds": [2**70]}, "seeds=.* does not fit"),
        ({"seeds": 10**12}, "seeds=1000000000000 does not fit"),
        ({"seeds": 40, "until": [0.1]}, r"until=\[0.1\] does not fit. It is a positive number such as 0.01"),
        ({"seeds": 40, "until": "0.01"}, "until='0.01' does not fit"),
        ({"seeds": 40, "until": True}, "until=True does not fit"),
        ({"seeds": 40, "until": NAN}, "until=nan is not a relative error"),
        ({"precision": "ultra"}, "precision='ultra' does not fit. It is one of 'default', 'high'"),
        ({"precision": 3}, "precision=3 does not fit"),
        ({"devices": "cpu"}, "devices='cpu' does not fit. It is a list of different devices"),
        ({"devices": [0]}, r"devices=\[0\] does not fit"),
        ({"devices": []}, r"devices=\[\] does not fit"),
        ({"devices": jax.devices()[:1] * 2}, "devices=.* does not fit"),
        ({"layer": 3}, "layer=3 does not fit. It is the name of a layer"),
        ({"channels": True}, "channels=True does not fit"),
        ({"init": 3}, "init=3 does not fit"),
        ({"treat_as_constant": 3}, "treat_as_constant=3 does not fit. It is a list of names"),
        ({"progress": 3}, "progress=3 does not fit"),
        ({"certify": "no"}, "certify='no' does not fit. It is True or False"),
        ({"spatial_axes": "ab"}, "spatial_axes='ab' are not whole numbers"),
        ({"spatial_axes": [1.5]}, "are not whole numbers"),
        ({"spatial_axes": 3}, "are not whole numbers"),
        ({"apply_kwargs": [1]}, r"apply_kwargs=\[1\] is not a dict"),
        ({"args": 3}, "args=3 is not a tuple"),
    ],
)
def test_options_of_another_kind_are_named(options, message):
    """The option, its value and what is needed are said."""
    with pytest.raises(InputError, match=message):
        jaxrf.erf(MODEL, None, X, **options)


def test_numbers_of_numpy_are_whole_numbers():
    """A count that NumPy made is a count."""
    assert jaxrf.erf(MODEL, None, X + 1, seeds=np.int64(2)).count == 4


@pytest.mark.parametrize("count", [NAN, float("inf"), None, "3", True, 10**12, 0, 2.0])
def test_noise_is_a_count(count):
    """Noise of no whole number of images is refused when it is made."""
    with pytest.raises(InputError, match="makes no images; a whole count"):
        jaxrf.noise(count)


@pytest.mark.parametrize("seed", [2**70, NAN, -1, "a", 1.5])
def test_the_seed_of_noise_is_a_number(seed):
    """So is a seed that no key can be made from."""
    with pytest.raises(InputError, match="of noise is not a whole number from 0 to 2"):
        jaxrf.noise(2, seed)


def test_sizes_and_types_of_inputs_are_named():
    """Sizes that no memory holds, and types that do not exist."""
    with pytest.raises(InputError, match="an axis of more than 134217728 positions does not fit into memory"):
        jaxrf.trf(MODEL, (10**12, 9, 3))
    with pytest.raises(InputError, match="dtype='float99' is not a dtype"):
        jaxrf.trf(MODEL, (8, 9, 3), dtype="float99")
    for shape in (3, "abc", (8.5, 9, 3)):
        with pytest.raises(InputError, match="is not a shape. Write for instance"):
            jaxrf.erf(MODEL, None, jaxrf.noise(1), input_shape=shape, seeds=1)
    with pytest.raises(InputError, match="No inputs were given"):
        jaxrf.erf(lambda x: x)


def test_arrays_that_were_deleted_are_named():
    """Donated inputs and weights are said to be so."""
    gone = jnp.asarray(X) + 1
    gone.delete()
    with pytest.raises(InputError, match="The array of inputs was deleted"):
        jaxrf.erf(MODEL, None, gone, seeds=1)
    variables = jax.tree.map(lambda leaf: leaf + 0, MODEL.init(jax.random.key(0), X))
    jax.tree.map(lambda leaf: leaf.delete(), variables)
    with pytest.raises(InputError, match="The weight .*kernel.* was deleted"):
        jaxrf.erf(MODEL, variables, X)


@pytest.mark.parametrize("transform", [jax.jit, jax.vmap, jax.grad])
def test_inside_a_transformation_it_is_said_what_to_use(transform):
    """`erf` computes on the host; a prepared field goes inside."""
    with pytest.raises(JaxrfError, match=r"jaxrf\.prepare"):
        transform(lambda x: jaxrf.erf(MODEL, None, x, seeds=1).mean.sum())(X[None] if transform is jax.vmap else X)


def test_results_say_what_does_not_fit(result, tmp_path):
    """Shares, units of a figure, and names of files."""
    for share in ("0.5", None, NAN):
        with pytest.raises(InputError, match="A share of .* was asked for"):
            result.area_ratio(share)
    with pytest.raises(InputError, match="Unit number a was asked for"):
        result.plot("a")
    for path in (None, 3):
        with pytest.raises(StoreError, match="the path of a file or folder is needed"):
            result.save(path)
    for name in ("a" * 300 + ".npz", "a\0b.npz"):
        with pytest.raises(StoreError, match="cannot be the name of a file"):
            result.save(tmp_path / name)
    result.save(tmp_path / ("a" * 251 + ".npz"))  # as long as a name may be


@pytest.mark.parametrize("read", [jaxrf.load, jaxrf.open])
@pytest.mark.parametrize("path", [None, 3, [1], "a\0b", "a" * 5000])
def test_reading_says_what_is_not_a_path(read, path):
    """What is not a path at all is a StoreError, whoever reads."""
    with pytest.raises(StoreError, match="the path of a file or folder is needed|cannot be the name of a file"):
        read(path)


def test_a_renamed_array_is_not_a_result(tmp_path):
    """An .npy file called .npz."""
    np.save(tmp_path / "a.npy", X)
    (tmp_path / "a.npy").rename(tmp_path / "a.npz")
    with pytest.raises(StoreError, match="is damaged or not an npz file"):
        jaxrf.load(tmp_path / "a.npz")


@pytest.mark.parametrize("counts", [(0, 0), ("a", "b"), (10**12, 2), (NAN, 2), (1.5, 2)])
def test_grids_have_whole_counts(counts):
    """Grids of units are counts."""
    with pytest.raises(InputError, match="needs whole counts of at least 1"):
        jaxrf.grid(*counts)
