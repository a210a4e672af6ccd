"""Arrays in the files of trained networks: TensorFlow.js, TensorFlow Lite, ONNX.

Takes paths, yields NumPy arrays by the names and in the layout of the file, quantized ones as the float32 that they stand
for. Runs nothing of a file. What lies otherwise than in Flax is turned by `conv_kernel`, `depthwise_kernel` and
`of_torch`.
"""

from __future__ import annotations

import importlib
import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from jaxrf.errors import InputError
from jaxrf.loading.families import Family


def read_tfjs(manifest: Path) -> dict[str, np.ndarray]:
    """The weights of a TensorFlow.js model: a `model.json` of either kind, or a weights manifest alone.

    The shards lie beside the file. Arrays that are quantized to whole numbers are `value * scale + min`.

    Raises:
        InputError: a shard is missing, cut short or too long, or an array is of a type that holds no numbers.

    Source: the description of `WeightsManifestConfig` in TensorFlow.js.
    """
    held = json.loads(manifest.read_text())
    groups = held if isinstance(held, list) else held.get("weightsManifest")
    if groups is None:
        raise InputError(f"{manifest} has no weightsManifest. Give the model.json of a TensorFlow.js model.")
    found: dict[str, np.ndarray] = {}
    for group in groups:
        missing = [path for path in group["paths"] if not (manifest.parent / path).is_file()]
        if missing:
            raise InputError(f"{manifest} names the shard {missing[0]}, which is not beside it. Copy the whole folder.")
        data = b"".join((manifest.parent / path).read_bytes() for path in group["paths"])
        at = 0
        for entry in group["weights"]:
            array, size = _of_tfjs(entry, data[at:], manifest)
            found[entry["name"]] = array
            at += size
        if at != len(data):
            raise InputError(
                f"The shards of {manifest} hold {len(data)} bytes and {at} are named. They are not its own."
            )
    return found


OF_TFJS = ("float32", "float16", "int32", "uint16", "uint8", "bool")
"""Types of which a shard holds plain numbers."""


def _of_tfjs(entry: dict[str, Any], data: bytes, manifest: Path) -> tuple[np.ndarray, int]:
    """One array at the start of some bytes, and how many of them are its."""
    quantized = entry.get("quantization")
    stored = (quantized or entry)["dtype"]
    if stored not in OF_TFJS:
        raise InputError(f"{entry['name']!r} in {manifest} is of type {stored}. Needed are {', '.join(OF_TFJS)}.")
    dtype, count = np.dtype(stored), math.prod(entry["shape"])
    if len(data) < count * dtype.itemsize:
        raise InputError(f"The shards of {manifest} end inside of {entry['name']!r}. Download them again.")
    array = np.frombuffer(data, dtype, count).reshape(entry["shape"])
    if quantized and dtype.kind == "u":
        array = (array * quantized["scale"] + quantized["min"]).astype(np.float32)
    return array.astype(np.float32) if dtype == np.float16 else array, count * dtype.itemsize


OF_TFLITE = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}
"""Numbers of types in a .tflite file."""


def read_tflite(file: Path) -> dict[str, np.ndarray]:
    """The constant tensors of a TensorFlow Lite model, in the order of the file.

    Quantized ones are `(value - zero point) * scale`, half precision becomes float32.

    Raises:
        InputError: it is not a .tflite file, or the package `tflite`, which reads them, is not installed.
    """
    tflite = library("tflite", "A .tflite file")
    data = file.read_bytes()
    if data[4:8] != b"TFL3":
        raise InputError(f"{file} is not a .tflite file: it lacks the mark TFL3. Give the model of TensorFlow Lite.")
    model = tflite.Model.GetRootAsModel(data, 0)
    graph = model.Subgraphs(0)
    found = {}
    for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
        held = model.Buffers(tensor.Buffer())
        if held.DataLength() and tensor.Type() in OF_TFLITE:
            shape = [tensor.Shape(i) for i in range(tensor.ShapeLength())]
            array = np.frombuffer(held.DataAsNumpy().tobytes(), OF_TFLITE[tensor.Type()]).reshape(shape)
            found[tensor.Name().decode()] = _plain(array, tensor.Quantization())
    return found


def _plain(array: np.ndarray, quantization: Any) -> np.ndarray:
    """What the numbers of a tensor of TensorFlow Lite stand for."""
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.kind == "f" or quantization is None or not quantization.ScaleLength():
        return array
    per = [1] * array.ndim
    if quantization.ScaleLength() > 1:
        per[quantization.QuantizedDimension()] = -1
    scale, zero = quantization.ScaleAsNumpy().reshape(per), quantization.ZeroPointAsNumpy().reshape(per)
    return ((array.astype(np.float32) - zero) * scale).astype(np.float32)


def read_onnx(file: Path) -> dict[str, np.ndarray]:
    """The initializers and constants of an ONNX model, in the order of the file.

    Raises:
        InputError: it is not an ONNX file, or the package `onnx`, which reads them, is not installed.
    """
    onnx = library("onnx", "An .onnx file")
    try:
        graph = onnx.load(file).graph
    except Exception as error:  # of protobuf, by whichever implementation is installed
        raise InputError(f"{file} is not an .onnx file: {error}. Give the model of ONNX.") from error
    held = {one.name: one for one in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            held[node.output[0]] = node.attribute[0].t
    return {name: onnx.numpy_helper.to_array(one) for name, one in held.items()}


def library(name: str, what: str) -> Any:
    """A package that a reader or a runtime needs, or an error that says how to install it."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0].replace("_", "-")
        raise InputError(f"{what} needs {package}, which is not installed. Run: pip install {package}") from error


def conv_kernel(array: np.ndarray) -> np.ndarray:
    """A kernel of TensorFlow Lite (out, y, x, in) as Flax has it, (y, x, in, out)."""
    return np.moveaxis(array, 0, -1)


def depthwise_kernel(array: np.ndarray) -> np.ndarray:
    """A depthwise kernel (1, y, x, out) of TensorFlow Lite, or (y, x, in, times) of TensorFlow.js, as Flax has it.

    Flax has (y, x, 1, out) for as many groups as there are input features.
    """
    return np.moveaxis(array, 0, 2) if array.shape[0] == 1 else array.reshape(*array.shape[:2], 1, -1)


def of_torch(array: np.ndarray) -> np.ndarray:
    """A kernel of PyTorch or ONNX (out, in, *spatial), or a matrix (out, in), as Flax has it."""
    return np.moveaxis(array, (0, 1), (-1, -2))


def read_torch(file: Path) -> dict[str, np.ndarray]:
    """A state_dict of PyTorch by its names, without running pickled code; `module.` of parallel training is left out.

    Raises:
        InputError: the file holds something else, or PyTorch is not installed.
    """
    held = library("torch", "A PyTorch state_dict").load(file, map_location="cpu", weights_only=True)
    if not isinstance(held, dict):
        raise InputError(f"{file} holds a {type(held).__name__}, not a state_dict. Give the file of the weights.")
    return {name.removeprefix("module."): value.numpy() for name, value in held.items()}


def by_rules(state: dict[str, np.ndarray], rules: tuple[tuple[str, str], ...], source: str) -> dict[str, np.ndarray]:
    """Arrays of PyTorch by the paths of Flax; rules are those of `jaxrf.loading.families.Family`."""
    found = Family(rules, source).converted(state, "the package")
    return {"/".join(path): value for path, value in found.items()}


def placed(held: dict[str, np.ndarray], places: dict[str, str]) -> dict[str, np.ndarray]:
    """Kernels and biases of a .tflite file by the paths of Flax, with the module of each layer; the rest is left out."""
    found = {}
    for name, array in held.items():
        layer, _, kind = name.rpartition("/")
        if layer in places and kind in ("Kernel", "Bias"):
            turned = depthwise_kernel if layer.startswith("depthwise") else conv_kernel
            found[f"params/{places[layer]}/{kind.lower()}"] = array if kind == "Bias" else turned(array)
    return found
