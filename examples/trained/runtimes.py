"""Outputs of trained networks in the runtimes that they were made for.

Takes the file of a model and inputs, yields its outputs; knows nothing of JAX. Each runtime is imported where it is used.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

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
    script = Path(__file__).parent / "run_tfjs.cjs"
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        inputs.astype("<f4").tofile(folder / "input")
        job = {"model": str(model), "kind": kind, "shape": inputs.shape, "folder": made, "outputs": outputs}
        try:
            done = subprocess.run(["node", str(script), json.dumps(job)], capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise InputError("Models of TensorFlow.js are run by node, which is not installed. Install Node.js.") from error
        if done.returncode:
            raise InputError(
                f"{model} was not run: {done.stderr.strip()[-400:]}. Run npm install @tensorflow/tfjs in some folder, and "
                "name its node_modules by NODE_PATH."
            )
        shapes = json.loads(done.stdout.splitlines()[-1])
        return [np.fromfile(folder / f"output{i}", "<f4").reshape(shape) for i, shape in enumerate(shapes)]


def run_tflite(model: Path, inputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of a TensorFlow Lite model, image by image, by LiteRT (`ai-edge-litert`)."""
    interpreter = library("ai_edge_litert.interpreter", "A .tflite file").Interpreter(str(model))
    interpreter.allocate_tensors()
    (taken,), given = interpreter.get_input_details(), interpreter.get_output_details()
    each = []
    for one in inputs:
        interpreter.set_tensor(taken["index"], one[None].astype(taken["dtype"]))
        interpreter.invoke()
        each.append([interpreter.get_tensor(output["index"]) for output in given])
    return [np.concatenate(parts) for parts in zip(*each, strict=True)]


def run_onnx(model: Path, inputs: np.ndarray) -> list[np.ndarray]:
    """Outputs of an ONNX model with one input, by ONNX Runtime; `inputs` lie as the model takes them."""
    session = library("onnxruntime", "An .onnx file").InferenceSession(str(model), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: inputs})
