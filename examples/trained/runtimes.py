"""Outputs of trained networks in the runtimes that they were made for.

Takes the file of a model and inputs, yields its outputs; knows nothing of JAX. Each runtime is imported where it is used.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from examples.trained.formats import library
from jaxrf.errors import InputError


def run_tfjs(model: Path, inputs: np.ndarray, kind: str = "layers", outputs: tuple[str, ...] = ()) -> list[np.ndarray]:
    """Outputs of a TensorFlow.js model in Node.js, with the package `@tensorflow/tfjs`.

    Args:
        model: its `model.json`.
        inputs: of its one input.
        kind: "layers" or "graph".
        outputs: names of nodes or layers; those of the model if none are named.

    Raises:
        InputError: Node.js or the package is missing, or the model cannot be run.
    """
    job = {"model": str(model), "kind": kind, "outputs": outputs}
    return run_node(Path(__file__).parent / "run_tfjs.cjs", job, inputs, "@tensorflow/tfjs")


def run_node(script: Path, job: dict[str, Any], inputs: np.ndarray, needed: str) -> list[np.ndarray]:
    """What a script of Node.js makes of inputs.

    The script gets the job as JSON, with the `shape` of the inputs, and a `folder` in which they lie as `input`, float32. It
    writes `output0`, ... there, float32 too, and prints their shapes as its last line, in JSON.

    Args:
        script: the script.
        job: what it is to know.
        inputs: numbers.
        needed: packages of npm that it loads.

    Raises:
        InputError: Node.js or a package is missing, or the script fails.
    """
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        inputs.astype("<f4").tofile(folder / "input")
        said = json.dumps({**job, "shape": inputs.shape, "folder": made})
        try:
            done = subprocess.run(["node", str(script), said], capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise InputError(
                "Models of TensorFlow.js are run by node, which is not installed. Install Node.js."
            ) from error
        if done.returncode:
            raise InputError(
                f"{script.name} failed: {done.stderr.strip()[-400:]}. Run npm install {needed} in some folder, and name its "
                "node_modules by NODE_PATH."
            )
        shapes = json.loads(done.stdout.splitlines()[-1])
        return [np.fromfile(folder / f"output{i}", "<f4").reshape(shape) for i, shape in enumerate(shapes)]


def run_tflite(model: Path, inputs: np.ndarray, plain_transposed: bool = False) -> list[np.ndarray]:
    """Outputs of a TensorFlow Lite model, image by image, by LiteRT (`ai-edge-litert`).

    Args:
        model: its .tflite file.
        inputs: of its one input.
        plain_transposed: put LiteRT's transposed convolution in the place of MediaPipe's own, which LiteRT does not have.
    """
    data = model.read_bytes()
    content = with_plain_transposed(data) if plain_transposed else data
    interpreter = library("ai_edge_litert.interpreter", "A .tflite file").Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
    each = []
    for one in inputs:
        interpreter.set_tensor(taken["index"], one[None].astype(taken["dtype"]))
        interpreter.invoke()
        each.append([interpreter.get_tensor(output["index"]) for output in given])
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]


def with_plain_transposed(data: bytes) -> bytes:
    """A .tflite file whose operations `Convolution2DTransposeBias` of 2 x 2 and stride 2 are LiteRT's own."""
    schema = library("ai_edge_litert.schema_py_generated", "A .tflite file")
    model = schema.ModelT.InitFromObj(schema.Model.GetRootAsModel(data, 0))
    graph, operators = model.subgraphs[0], schema.BuiltinOperator
    for number, code in enumerate(model.operatorCodes):
        if code.customCode != b"Convolution2DTransposeBias":
            continue
        code.customCode, code.version = None, 3  # the first one that has a bias
        code.builtinCode = code.deprecatedBuiltinCode = operators.TRANSPOSE_CONV
        for operation in (one for one in graph.operators if one.opcodeIndex == number):
            image, kernel, bias = operation.inputs
            shape, buffer = schema.TensorT(), schema.BufferT()
            buffer.data = np.frombuffer(
                np.asarray(graph.tensors[operation.outputs[0]].shape, np.int32).tobytes(), np.uint8
            )
            model.buffers.append(buffer)
            shape.shape, shape.type, shape.name = [4], schema.TensorType.INT32, b"shape"
            shape.buffer = len(model.buffers) - 1
            graph.tensors.append(shape)
            options = schema.TransposeConvOptionsT()
            options.padding, options.strideH, options.strideW = schema.Padding.VALID, 2, 2
            operation.inputs = [len(graph.tensors) - 1, kernel, image, bias]
            operation.builtinOptionsType, operation.builtinOptions = schema.BuiltinOptions.TransposeConvOptions, options
            operation.customOptions = None
    made = library("flatbuffers", "A .tflite file").Builder(len(data))
    made.Finish(model.Pack(made), b"TFL3")
    return bytes(made.Output())


def run_onnx(model: Path, inputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of an ONNX model with one input, by ONNX Runtime; `inputs` lie as the model takes them."""
    session = library("onnxruntime", "An .onnx file").InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})
