"""Variables from disk: every kind as its own library writes it, what is left out, and what is refused."""

from __future__ import annotations

import pickle
from pathlib import Path

import flax.linen as nn
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from flax.training.train_state import TrainState

import jaxrf
from jaxrf.errors import InputError, UnknownNameError
from jaxrf.loading.checkpoints import read_variables
from jaxrf.loading.matching import MatchedByOrder

KERNEL = np.arange(6, dtype=np.float32).reshape(2, 3)
VARIABLES = {"params": {"conv": {"kernel": KERNEL, "bias": KERNEL[0]}}, "batch_stats": {"norm": {"mean": KERNEL[1]}}}
FLAT = {"/".join(path): leaf for path, leaf in {
    ("params", "conv", "kernel"): KERNEL, ("params", "conv", "bias"): KERNEL[0], ("batch_stats", "norm", "mean"): KERNEL[1],
}.items()}  # fmt: skip


def same(found, right=VARIABLES):
    assert jax.tree.structure(found) == jax.tree.structure(right)
    jax.tree.map(np.testing.assert_array_equal, found, right)


def orbax_save(path, tree):
    import orbax.checkpoint

    with orbax.checkpoint.StandardCheckpointer() as checkpointer:
        checkpointer.save(path, tree)


def test_msgpack_npz_and_safetensors_hold_the_same(tmp_path):
    """Nested trees, and flat names with slashes, come back as collections of arrays."""
    import safetensors.numpy

    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(VARIABLES))
    np.savez(tmp_path / "a.npz", **FLAT)
    safetensors.numpy.save_file(FLAT, tmp_path / "a.safetensors")
    for name in ("a.msgpack", "a.npz", "a.safetensors"):
        same(read_variables(tmp_path / name))


def test_bare_parameters_become_the_collection_params(tmp_path):
    """A tree of parameters alone is put under params."""
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes({"conv": {"kernel": KERNEL}}))
    same(read_variables(tmp_path / "a.msgpack"), {"params": {"conv": {"kernel": KERNEL}}})


@pytest.mark.filterwarnings("ignore")
def test_an_orbax_folder_is_read(tmp_path):
    """A checkpoint written by Orbax comes back."""
    orbax_save(tmp_path / "checkpoint", VARIABLES)
    same(read_variables(tmp_path / "checkpoint"))


@pytest.mark.filterwarnings("ignore")
def test_a_managers_folder_gives_the_newest_step_or_the_one_asked_for(tmp_path):
    """Steps are numbers and not words, so that 10 is behind 9; one that does not exist is named with those that do."""
    import orbax.checkpoint

    with orbax.checkpoint.CheckpointManager(tmp_path / "run") as manager:
        for step in (9, 10):
            manager.save(step, args=orbax.checkpoint.args.StandardSave({"params": {"w": np.full(3, step)}}))
    (tmp_path / "run" / "11.orbax-checkpoint-tmp").mkdir()
    assert read_variables(tmp_path / "run")["params"]["w"][0] == 10
    assert read_variables(tmp_path / "run", step=9)["params"]["w"][0] == 9
    assert read_variables(tmp_path / "run" / "9")["params"]["w"][0] == 9
    with pytest.raises(InputError, match="has no step 8. It has: 9, 10"):
        read_variables(tmp_path / "run", step=8)
    with pytest.raises(InputError, match="a single checkpoint, and step=9 was asked for"):
        read_variables(tmp_path / "run" / "9" / "default", step=9)


@pytest.mark.filterwarnings("ignore")
def test_training_states_give_their_variables_alone(tmp_path):
    """No step and no optimizer; statistics stay; the running average only where it is asked for."""

    class State(TrainState):
        batch_stats: dict
        ema_params: dict

    params = jax.tree.map(jnp.asarray, VARIABLES["params"])
    state = State.create(
        apply_fn=None, params=params, tx=optax.adam(1e-3), batch_stats=VARIABLES["batch_stats"],
        ema_params=jax.tree.map(lambda x: x + 1, params),
    )  # fmt: skip
    orbax_save(tmp_path / "orbax", state)
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(state))
    for name in ("orbax", "a.msgpack"):
        same(read_variables(tmp_path / name))
        averaged = read_variables(tmp_path / name, average=True)
        np.testing.assert_array_equal(averaged["params"]["conv"]["kernel"], KERNEL + 1)
        assert set(averaged) == {"params", "batch_stats"}
    (tmp_path / "b.msgpack").write_bytes(flax.serialization.to_bytes(VARIABLES))
    with pytest.raises(InputError, match="holds no running average.*it holds batch_stats, params"):
        read_variables(tmp_path / "b.msgpack", average=True)


@pytest.mark.filterwarnings("ignore")
def test_states_of_nnx_give_the_values_of_their_leaves(tmp_path):
    """As they are saved as a pure dict, as they are, and with an entry `value` at each leaf, as older versions saved them."""
    module = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    pure = nnx.to_pure_dict(nnx.state(module))
    orbax_save(tmp_path / "pure", pure)
    orbax_save(tmp_path / "leaves", {"kernel": {"value": pure["kernel"]}, "bias": {"value": pure["bias"]}})
    orbax_save(tmp_path / "state", nnx.state(module))
    for name in ("pure", "leaves", "state"):
        same(read_variables(tmp_path / name), {"params": jax.tree.map(np.asarray, dict(pure))})


def test_variables_have_the_structure_of_the_models_own(tmp_path):
    """A state of NNX, saved as a pure dict, and one of Haiku, whose modules have slashes in their names."""
    hk = pytest.importorskip("haiku")

    module = nnx.Conv(3, 4, (3, 3), rngs=nnx.Rngs(0))
    pure = jax.tree.map(np.asarray, nnx.to_pure_dict(nnx.state(module)))
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(pure))
    found = jaxrf.load_variables(tmp_path / "a.msgpack", model=module, input_shape=(9, 11, 3))
    same(nnx.to_pure_dict(found), pure)
    net = hk.transform(lambda x: hk.nets.MLP([2, 3])(x))
    params = net.init(jax.random.key(0), np.ones((1, 9, 5), np.float32))
    np.savez(
        tmp_path / "b.npz", **{f"{name}/{leaf}": one for name, inner in params.items() for leaf, one in inner.items()}
    )
    same(jaxrf.load_variables(tmp_path / "b.npz", model=net, input_shape=(9, 5)), jax.tree.map(np.asarray, params))


def test_variables_are_compared_with_what_the_model_needs(tmp_path):
    """What is missing, not needed or of another shape is listed by name; types become the model's."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Conv(4, (3, 1), name="conv")(x)

    right = {"params/conv/kernel": np.ones((3, 1, 2, 4), np.float16), "params/conv/bias": np.zeros(4, np.float64)}
    np.savez(tmp_path / "right.npz", **right)
    with pytest.warns(
        UserWarning, match=r"1 arrays of .*right.npz were converted from float(16|64) to float32\."
    ) as said:
        found = jaxrf.load_variables(tmp_path / "right.npz", model=Net(), input_shape=(5, 7, 2))
    assert len(said) == 2
    assert found["params"]["conv"]["kernel"].dtype == np.float32
    wrong = {"params/conv/kernel": np.ones((1, 3, 2, 4), np.float32), "params/dense/bias": np.zeros(4)}
    np.savez(tmp_path / "wrong.npz", **wrong)
    with pytest.raises(
        InputError,
        match=r"conv/kernel is \(1, 3, 2, 4\), and \(3, 1, 2, 4\) is needed; missing params/conv/bias \(4,\); not needed",
    ):
        jaxrf.load_variables(tmp_path / "wrong.npz", model=Net(), input_shape=(5, 7, 2))
    with pytest.raises(InputError, match="Pass model and input_shape"):
        jaxrf.load_variables(tmp_path / "right.npz", model=Net())


def test_half_and_quantized_tensors_of_torch(tmp_path):
    """What NumPy has no type for becomes float32, which is said; a file of something else is refused, and names itself."""
    torch = pytest.importorskip("torch")
    whole = torch.arange(6.0).reshape(2, 3) / 8
    quantized = torch.quantize_per_tensor(whole, 1 / 8, 0, torch.qint8)
    for kind, value in (
        ("bfloat16", whole.bfloat16()),
        ("qint8", quantized),
        ("float8_e4m3fn", whole.to(torch.float8_e4m3fn)),
    ):
        torch.save({"state_dict": {"w": value}}, tmp_path / "a.pth")
        with pytest.warns(UserWarning, match=f"1 arrays of .*a.pth are {kind}; they became float32"):
            found = read_variables(tmp_path / "a.pth")["params"]["w"]
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, whole.numpy())
    torch.save(whole, tmp_path / "b.pth")
    with pytest.raises(InputError, match="b.pth holds a Tensor, not a state_dict"):
        read_variables(tmp_path / "b.pth")
    whole_file = (tmp_path / "a.pth").read_bytes()
    for length in (0, 1, len(whole_file) // 2, len(whole_file) - 1):
        (tmp_path / "c.pth").write_bytes(whole_file[:length])
        with pytest.raises(InputError, match=r"c.pth looks like a PyTorch state_dict and cannot be read"):
            read_variables(tmp_path / "c.pth")


def test_what_is_not_there_or_of_no_kind_is_named(tmp_path):
    """The path, what it looks like, and the kinds that there are."""
    with pytest.raises(InputError, match="There are no variables at .*gone. Give an Orbax folder"):
        read_variables(tmp_path / "gone")
    (tmp_path / "file.txt").write_text("text")
    with pytest.raises(InputError, match="not a checkpoint of a known kind, which holds file.txt"):
        read_variables(tmp_path)
    with pytest.raises(InputError, match=r"file.txt is not a checkpoint of a known kind. Give"):
        read_variables(tmp_path / "file.txt")
    (tmp_path / "a.msgpack").write_bytes(flax.serialization.to_bytes(KERNEL))
    with pytest.raises(InputError, match="holds ndarray, not a dict of variables"):
        read_variables(tmp_path / "a.msgpack")
    with pytest.raises(InputError, match="Pass it: model="):
        jaxrf.load_variables(tmp_path / "a.msgpack", family="timm_resnet")
    np.savez(tmp_path / "a.npz", **FLAT)
    with pytest.raises(UnknownNameError, match="Did you mean 'timm_resnet'"):
        read_variables(tmp_path / "a.npz", family="timm_resnets")


@pytest.mark.parametrize("ending", [".msgpack", ".npz", ".safetensors"])
def test_damaged_files_are_named(tmp_path, ending):
    """Cut anywhere, a file is called damaged or unfinished; it never gives fewer variables than it held."""
    import safetensors.numpy

    file = tmp_path / f"a{ending}"
    if ending == ".msgpack":
        file.write_bytes(flax.serialization.to_bytes(VARIABLES))
    elif ending == ".npz":
        np.savez(file, **FLAT)
    else:
        safetensors.numpy.save_file(FLAT, file)
    whole = file.read_bytes()
    for length in (0, 1, len(whole) // 3, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(InputError, match=f"a{ending} looks like .* cannot be read|holds"):
            read_variables(file)


@pytest.mark.filterwarnings("ignore")
def test_an_orbax_folder_that_lost_a_part_is_named(tmp_path):
    """Without its data, a folder is called damaged."""
    import shutil

    orbax_save(tmp_path / "a", VARIABLES)
    shutil.rmtree(tmp_path / "a" / "d")
    with pytest.raises(InputError, match="looks like an Orbax checkpoint and cannot be read"):
        read_variables(tmp_path / "a")


def test_half_and_quantized_weights(tmp_path):
    """Half and bfloat16 are converted, which is said; whole numbers whose step is not known are refused by name."""
    import safetensors.flax

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return nn.Conv(4, (3, 1), name="conv", use_bias=False)(x)

    call = {"model": Net(), "input_shape": (5, 7, 2)}
    for dtype in (jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn):
        safetensors.flax.save_file({"params/conv/kernel": jnp.ones((3, 1, 2, 4), dtype)}, tmp_path / "a.safetensors")
        with pytest.warns(UserWarning, match=f"1 arrays of .* were converted from {jnp.dtype(dtype)} to float32"):
            found = jaxrf.load_variables(tmp_path / "a.safetensors", **call)
        np.testing.assert_array_equal(found["params"]["conv"]["kernel"], np.ones((3, 1, 2, 4), np.float32))
    np.savez(tmp_path / "a.npz", **{"params/conv/kernel": np.ones((3, 1, 2, 4), np.int8)})
    with pytest.raises(InputError, match="are quantized: params/conv/kernel is int8.*Save them dequantized"):
        jaxrf.load_variables(tmp_path / "a.npz", **call)


class Small(nn.Module):
    """Ten convolutions of one shape, whose names do not sort in the order of their calls, and a head."""

    @nn.compact
    def __call__(self, x):
        for i in range(11):
            x = nn.Conv(2, (3, 1), name=f"conv{i}")(x)
        return nn.Dense(3, name="a_head")(x)


def test_strange_names_are_matched_by_kind_shape_and_order(tmp_path):
    """In the order of the calls, kernels of PyTorch turned; the table says which became which."""

    shapes = {"weight": (2, 2, 3, 1), "bias": (2,)}
    state = {f"body.{i}.{n}": np.full(s, i, np.float32) for i in range(11) for n, s in shapes.items()}
    state |= {"head.weight": np.arange(6, dtype=np.float32).reshape(3, 2), "head.bias": np.zeros(3, np.float32)}
    np.savez(tmp_path / "a.npz", **state)
    call = {"model": Small(), "input_shape": (5, 7, 2), "match": "order"}
    with pytest.warns(
        MatchedByOrder, match=r"(?s)variable +array +shape.*params/conv10/kernel +body.10.weight +3x1x2x2"
    ):
        found = jaxrf.load_variables(tmp_path / "a.npz", **call)
    for i in range(11):
        assert (found["params"][f"conv{i}"]["kernel"] == i).all() and (found["params"][f"conv{i}"]["bias"] == i).all()
    np.testing.assert_array_equal(found["params"]["a_head"]["kernel"], state["head.weight"].T)
    del state["body.3.bias"]
    np.savez(tmp_path / "a.npz", **state, more=np.zeros((7, 5)))
    with pytest.raises(
        InputError, match=r"bias \(2,\): 10 in the file, 11 needed.*array \(7, 5\): 1 in the file, 0 needed \(more\)"
    ):
        jaxrf.load_variables(tmp_path / "a.npz", **call)
    with pytest.raises(InputError, match='match="order" compares a file with a model'):
        jaxrf.load_variables(tmp_path / "a.npz", match="order")
    with pytest.raises(UnknownNameError, match="Did you mean 'order'"):
        jaxrf.load_variables(tmp_path / "a.npz", match="ordr")


@pytest.mark.filterwarnings("ignore")
def test_checkpoints_are_fetched_from_where_they_lie(tmp_path):
    """Files and folders at URLs, of a folder with steps no more than the step; errors name the URL."""
    import fsspec
    import orbax.checkpoint

    memory = fsspec.filesystem("memory")
    np.savez(tmp_path / "a.npz", **FLAT)
    (tmp_path / "b.msgpack").write_bytes(flax.serialization.to_bytes(VARIABLES))
    with orbax.checkpoint.CheckpointManager(tmp_path / "run") as manager:
        for step in (9, 10):
            manager.save(step, args=orbax.checkpoint.args.StandardSave({"params": {"w": np.full(3, step)}}))
    memory.put(str(tmp_path), "/place", recursive=True)
    for name in ("a.npz", "b.msgpack"):
        same(read_variables(f"memory://place/{name}"))
        same(read_variables(f"file://{tmp_path}/{name}"))
    for start in ("memory://place", f"file://{tmp_path}"):
        assert read_variables(f"{start}/run")["params"]["w"][0] == 10
        assert read_variables(f"{start}/run/", step=9)["params"]["w"][0] == 9
    memory.rm("/place/run/10", recursive=True)  # the step that is not asked for need not be whole
    memory.touch("/place/run/10/default/_METADATA")
    assert read_variables("memory://place/run", step=9)["params"]["w"][0] == 9
    for url, said in (
        ("memory://place/run", r"memory://place/run looks like|cannot be read"),
        ("memory://place/gone.npz", "There are no variables at memory://place/gone.npz"),
        ("nowhere://a.npz", "nowhere://a.npz cannot be opened: .*nowhere"),
    ):
        with pytest.raises(InputError, match=said):
            read_variables(url)
    with pytest.raises(InputError, match="memory://place/run has no step 8. It has: 9, 10"):
        read_variables("memory://place/run", step=8)


@pytest.mark.parametrize(
    ("name", "looks"),
    [
        ("model.safetensors", "a folder of a model hub, which holds"),
        ("saved_model.pb", "a checkpoint of TensorFlow"),
        ("weights.h5", "weights of Keras"),
        ("weights.pkl", "a pickle, which could run code"),
        (".metadata", "a distributed checkpoint of PyTorch"),
        ("net.onnx", "a network of ONNX"),
        ("net.jit", "a program of TorchScript"),
        ("Manifest.json", "a network of Core ML"),
        ("model.json", "a network of TensorFlow.js"),
        ("variables.index", "a checkpoint of TensorFlow"),
        ("net.whl", "an archive"),
    ],
)
def test_folders_of_other_kinds_say_what_they_look_like(tmp_path, name, looks):
    """And what to do; a file of that name alone is named too."""
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(InputError, match=f"looks like {looks}"):
        read_variables(tmp_path)


class Hostile:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def test_a_hostile_pickle_runs_nothing(tmp_path):
    """Neither in place of a state_dict nor as an object of a .npz; with torch or without it, an error is all there is."""
    mark = tmp_path / "mark"
    (tmp_path / "a.pth").write_bytes(pickle.dumps({"state_dict": Hostile(mark)}))
    np.savez(tmp_path / "a.npz", w=np.array([Hostile(mark)], object))
    for name in ("a.pth", "a.npz"):
        with pytest.raises(InputError, match="cannot be read|read by torch, which is not installed"):
            read_variables(tmp_path / name)
    assert not mark.exists()
