"""A TensorFlow Lite network with one huge, useless channel, which makes INT8 steps too coarse."""

from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

INPUTS, WIDTH, CLASSES = 160, 256, 8


class Network:
    """Tensors, operators and buffers of a graph as they are added."""

    def __init__(self) -> None:
        self._graph = schema.SubGraphT()
        self._graph.tensors, self._graph.operators = [], []
        self._model = schema.ModelT()
        self._model.version, self._model.subgraphs = 3, [self._graph]
        self._model.buffers, self._model.operatorCodes = [schema.BufferT()], []

    def tensor(self, name: str, shape: tuple[int, ...], weights: np.ndarray | None = None) -> int:
        made = schema.TensorT()
        made.name, made.shape, made.type = name.encode(), list(shape), schema.TensorType.FLOAT32
        made.buffer = 0
        if weights is None:
            made.shapeSignature = [-1, *shape[1:]]
        else:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(weights.astype(np.float32).tobytes(), np.uint8)
            made.buffer = len(self._model.buffers)
            self._model.buffers.append(buffer)
        self._graph.tensors.append(made)
        return len(self._graph.tensors) - 1

    def add(self, kind: str, inputs: list[int], output: int, options: Any, name: str) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, kind)
        code.version = 1
        self._model.operatorCodes.append(code)
        made = schema.OperatorT()
        made.opcodeIndex = len(self._model.operatorCodes) - 1
        made.inputs, made.outputs = inputs, [output]
        made.builtinOptionsType = getattr(schema.BuiltinOptions, name)
        made.builtinOptions = options
        self._graph.operators.append(made)
        return output

    def write(self, path: Path, start: int, end: int) -> None:
        self._graph.inputs, self._graph.outputs = [start], [end]
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = [schema.TensorMapT()], [schema.TensorMapT()]
        signature.inputs[0].name, signature.inputs[0].tensorIndex = b"x", start
        signature.outputs[0].name, signature.outputs[0].tensorIndex = b"y", end
        self._model.signatureDefs = [signature]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        path.write_bytes(bytes(builder.Output()))


def write_network(path: Path) -> None:
    """x [-1, 160] → four times FULLY_CONNECTED → SOFTMAX y [-1, 8].

    What lies between the first two has steps of a size that leaves nothing of the other channels.
    """
    random = np.random.default_rng(0)
    spread = np.ones(INPUTS)
    spread[0] = 1e5
    network = Network()
    softmax = schema.SoftmaxOptionsT()
    softmax.beta = 1.0

    def connected(name: str, source: int, matrix: np.ndarray) -> int:
        outputs = len(matrix)
        weights = network.tensor(f"{name}.w", matrix.shape, matrix)
        bias = network.tensor(f"{name}.b", (outputs,), np.zeros(outputs))
        target = network.tensor(name, (1, outputs))
        options = schema.FullyConnectedOptionsT()
        inputs = [source, weights, bias]
        return network.add("FULLY_CONNECTED", inputs, target, options, "FullyConnectedOptions")

    x = network.tensor("x", (1, INPUTS))
    ruined = connected("ruinous", x, np.diag(spread))
    wide = connected("wide", connected("back", ruined, np.diag(1 / spread)),
                     random.normal(size=(WIDTH, INPUTS)))  # fmt: skip
    scores = connected("scores", wide, random.normal(size=(CLASSES, WIDTH)))
    y = network.tensor("y", (1, CLASSES))
    network.write(path, x, network.add("SOFTMAX", [scores], y, softmax, "SoftmaxOptions"))
