"""Readers of the files of trained networks, on tiny files that are made here."""

from __future__ import annotations

import json

import numpy as np
import pytest

from examples.trained import formats
from jaxrf.errors import InputError

DRAW = np.random.default_rng(0)


class TestTfjs:
    """Shards and manifests of TensorFlow.js."""

    KERNEL = DRAW.normal(size=(3, 2, 1, 5)).astype("<f4")
    NUMBERS = DRAW.integers(0, 255, (4, 3)).astype("u1")
    HALVES = DRAW.normal(size=7).astype("<f2")

    def write(self, folder, cut: int = 0, **changes):
        """A model of three arrays in two shards, of which the first ends inside of an array."""
        data = self.KERNEL.tobytes() + self.NUMBERS.tobytes() + self.HALVES.tobytes()
        data = data[: len(data) - cut]
        (folder / "shard1").write_bytes(data[:50])
        (folder / "shard2").write_bytes(data[50:])
        weights = [
            {"name": "conv/kernel", "shape": [3, 2, 1, 5], "dtype": "float32"},
            {
                "name": "dense", "shape": [4, 3], "dtype": "float32",
                "quantization": {"dtype": "uint8", "scale": 0.5, "min": -3.0, "original_dtype": "float32"},
            },
            {"name": "bias", "shape": [7], "dtype": "float32", "quantization": {"dtype": "float16"}},
        ]  # fmt: skip
        weights[0] |= changes
        groups = [{"paths": ["shard1", "shard2"], "weights": weights}]
        (folder / "manifest.json").write_text(json.dumps(groups))
        (folder / "model.json").write_text(json.dumps({"modelTopology": {}, "weightsManifest": groups}))

    @pytest.mark.parametrize("name", ["model.json", "manifest.json"])
    def test_reads_what_was_written(self, tmp_path, name):
        """Arrays go over the ends of shards; quantized ones are `value * scale + min`; both kinds of files are read."""
        self.write(tmp_path)
        found = formats.read_tfjs(tmp_path / name)
        assert list(found) == ["conv/kernel", "dense", "bias"]
        np.testing.assert_array_equal(found["conv/kernel"], self.KERNEL)
        np.testing.assert_array_equal(found["dense"], self.NUMBERS.astype(np.float32) / 2 - 3)
        np.testing.assert_array_equal(found["bias"], self.HALVES.astype(np.float32))
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}

    def test_says_what_is_wrong(self, tmp_path):
        """Another file, a type without numbers, shards that are too short, too long, or not there."""
        (tmp_path / "other.json").write_text("{}")
        with pytest.raises(InputError, match="has no weightsManifest. Give the model.json"):
            formats.read_tfjs(tmp_path / "other.json")
        self.write(tmp_path, dtype="string")
        with pytest.raises(InputError, match="'conv/kernel' in .* is of type string"):
            formats.read_tfjs(tmp_path / "model.json")
        self.write(tmp_path, cut=3)
        with pytest.raises(InputError, match="end inside of 'bias'"):
            formats.read_tfjs(tmp_path / "model.json")
        self.write(tmp_path, shape=[3, 2, 1, 4])
        with pytest.raises(InputError, match="hold 146 bytes and 122 are named"):
            formats.read_tfjs(tmp_path / "model.json")
        (tmp_path / "shard2").unlink()
        with pytest.raises(InputError, match="names the shard shard2, which is not beside it"):
            formats.read_tfjs(tmp_path / "model.json")


def test_kernels_are_turned_as_flax_has_them():
    """Each layout gives the kernel whose convolution is that of the library that wrote it."""
    ours = DRAW.normal(size=(3, 2, 4, 5))
    np.testing.assert_array_equal(formats.conv_kernel(ours.transpose(3, 0, 1, 2)), ours)
    np.testing.assert_array_equal(formats.of_torch(ours.transpose(3, 2, 0, 1)), ours)
    np.testing.assert_array_equal(formats.of_torch(ours[0, 0].T), ours[0, 0])
    deep = DRAW.normal(size=(3, 2, 1, 6))
    np.testing.assert_array_equal(formats.depthwise_kernel(deep.transpose(2, 0, 1, 3)), deep)
    np.testing.assert_array_equal(formats.depthwise_kernel(deep.reshape(3, 2, 3, 2)), deep)


def test_a_missing_reader_says_how_to_install_it(tmp_path):
    """The error names the package."""
    with pytest.raises(
        InputError, match="The file needs no-such-reader, which is not installed. Run: pip install no-such"
    ):
        formats.library("no_such_reader", "The file")


class TestTflite:
    """Constant tensors of TensorFlow Lite."""

    def test_reads_what_was_written(self, tmp_path):
        """Names, shapes and types; half precision and quantized numbers, by tensor and by channel, as float32."""
        pytest.importorskip("tflite")
        whole = np.arange(6, dtype=np.int8).reshape(2, 1, 3)
        tensors = {
            "kernel": (DRAW.normal(size=(5, 2, 3)).astype(np.float32), None),
            "half": (np.array([0.5, -2], np.float16), None),
            "by tensor": (whole, ([0.5], [1], 0)),
            "by channel": (whole, ([0.5, 2.0], [0, 3], 0)),
        }
        file = tmp_path / "tiny.tflite"
        file.write_bytes(made_tflite(tensors))
        found = formats.read_tflite(file)
        assert list(found) == list(tensors)  # and not the input, which has no numbers
        np.testing.assert_array_equal(found["kernel"], tensors["kernel"][0])
        np.testing.assert_array_equal(found["half"], np.array([0.5, -2], np.float32))
        np.testing.assert_array_equal(found["by tensor"], (whole - 1.0) / 2)
        np.testing.assert_array_equal(found["by channel"], [[[0, 0.5, 1]], [[0, 2, 4]]])
        assert {array.dtype for array in found.values()} == {np.dtype(np.float32)}

    def test_refuses_another_file(self, tmp_path):
        """What lacks the mark of the format is named."""
        pytest.importorskip("tflite")
        (tmp_path / "a.tflite").write_bytes(b"PK\x03\x04 a zip file")
        with pytest.raises(InputError, match="is not a .tflite file: it lacks the mark TFL3"):
            formats.read_tflite(tmp_path / "a.tflite")


TYPES = {"float32": 0, "float16": 1, "int8": 9}


def made_tflite(tensors) -> bytes:
    """A .tflite file of an input and constant tensors, each with its scales, zero points and axis of channels, or None."""
    import flatbuffers
    import tflite

    made = flatbuffers.Builder(1024)

    def vector(offsets) -> int:
        made.StartVector(4, len(offsets), 4)
        for offset in reversed(offsets):
            made.PrependUOffsetTRelative(offset)
        return made.EndVector()

    buffers, described = [], []
    tflite.BufferStart(made)
    buffers.append(tflite.BufferEnd(made))  # the empty one, of all that is not constant
    for name, (array, quantized) in {"input": (np.zeros((1, 4), np.float32), None), **tensors}.items():
        number = 0
        if name != "input":
            data = made.CreateNumpyVector(np.frombuffer(array.tobytes(), np.uint8))
            tflite.BufferStart(made)
            tflite.BufferAddData(made, data)
            number = len(buffers)
            buffers.append(tflite.BufferEnd(made))
        quantization = None
        if quantized is not None:
            scales, zeros = (made.CreateNumpyVector(np.array(q, t)) for q, t in zip(quantized, ("f4", "i8")))
            tflite.QuantizationParametersStart(made)
            tflite.QuantizationParametersAddScale(made, scales)
            tflite.QuantizationParametersAddZeroPoint(made, zeros)
            tflite.QuantizationParametersAddQuantizedDimension(made, quantized[2])
            quantization = tflite.QuantizationParametersEnd(made)
        shape, title = made.CreateNumpyVector(np.array(array.shape, np.int32)), made.CreateString(name)
        tflite.TensorStart(made)
        tflite.TensorAddShape(made, shape)
        tflite.TensorAddType(made, TYPES[str(array.dtype)])
        tflite.TensorAddBuffer(made, number)
        tflite.TensorAddName(made, title)
        if quantization is not None:
            tflite.TensorAddQuantization(made, quantization)
        described.append(tflite.TensorEnd(made))
    all_tensors, all_buffers = vector(described), vector(buffers)
    tflite.SubGraphStart(made)
    tflite.SubGraphAddTensors(made, all_tensors)
    graphs = vector([tflite.SubGraphEnd(made)])
    tflite.ModelStart(made)
    tflite.ModelAddVersion(made, 3)
    tflite.ModelAddSubgraphs(made, graphs)
    tflite.ModelAddBuffers(made, all_buffers)
    made.Finish(tflite.ModelEnd(made), b"TFL3")
    return bytes(made.Output())


class TestOnnx:
    """Initializers and constants of ONNX."""

    def test_reads_what_was_written(self, tmp_path):
        """Both ways of holding an array, by name."""
        onnx = pytest.importorskip("onnx")
        helper, numpy_helper = onnx.helper, onnx.numpy_helper
        kernel, bias = DRAW.normal(size=(2, 3)).astype(np.float32), np.array([1, 2], np.float32)
        nodes = [
            helper.make_node("Constant", [], ["bias"], value=numpy_helper.from_array(bias)),
            helper.make_node("MatMul", ["x", "kernel"], ["y"]),
        ]
        graph = helper.make_graph(
            nodes, "tiny", [helper.make_tensor_value_info("x", 1, [1, 2])],
            [helper.make_tensor_value_info("y", 1, [1, 3])], [numpy_helper.from_array(kernel, "kernel")],
        )  # fmt: skip
        onnx.save(helper.make_model(graph), tmp_path / "tiny.onnx")
        found = formats.read_onnx(tmp_path / "tiny.onnx")
        assert list(found) == ["kernel", "bias"]
        np.testing.assert_array_equal(found["kernel"], kernel)
        np.testing.assert_array_equal(found["bias"], bias)

    def test_refuses_another_file(self, tmp_path):
        """What no protobuf of ONNX can be is named."""
        pytest.importorskip("onnx")
        (tmp_path / "a.onnx").write_bytes(b"\xff\xff\xff not a model")
        with pytest.raises(InputError, match="is not an .onnx file"):
            formats.read_onnx(tmp_path / "a.onnx")


def test_the_names_of_a_state_dict_become_paths(tmp_path):
    """`module.` goes, kernels are turned, other names are refused, and nothing pickled is run."""
    torch = pytest.importorskip("torch")
    state = {"module.conv.weight": torch.ones(4, 2, 1, 3), "module.conv.bias": torch.zeros(4)}
    torch.save(state, tmp_path / "a.pth")
    found = formats.by_rules(formats.read_torch(tmp_path / "a.pth"), ((r"conv", "first/conv"),), "a network")
    assert {name: array.shape for name, array in found.items()} == {
        "params/first/conv/kernel": (1, 3, 2, 4), "params/first/conv/bias": (4,),
    }  # fmt: skip
    torch.save([1], tmp_path / "b.pth")
    with pytest.raises(InputError, match="holds a list, not a state_dict"):
        formats.read_torch(tmp_path / "b.pth")
