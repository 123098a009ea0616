"""Trains the digits classifier and writes digits.onnx: `python train.py digits.csv.gz`.

A perceptron with one hidden layer of 64, trained by Adam on the split `train` only.
"""

import sys
from pathlib import Path

import numpy as np
import onnx
from data import load
from onnx import TensorProto, helper, numpy_helper

HIDDEN, EPOCHS, BATCH, RATE, DECAY = 64, 150, 32, 2e-3, 1e-4


def train(x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Weights and biases of both layers, float32."""
    random = np.random.RandomState(1)
    shapes = [(64, HIDDEN), (HIDDEN,), (HIDDEN, 10), (10,)]
    weights = [random.randn(*s) * np.sqrt(2 / s[0]) if len(s) == 2 else np.zeros(s) for s in shapes]
    first = [np.zeros(s) for s in shapes]
    second = [np.zeros(s) for s in shapes]
    step = 0
    for _ in range(EPOCHS):
        order = random.permutation(len(x))
        for start in range(0, len(x), BATCH):
            index = order[start : start + BATCH]
            step += 1
            for i, slope in enumerate(gradients(weights, x[index], y[index])):
                first[i] = 0.9 * first[i] + 0.1 * slope
                second[i] = 0.999 * second[i] + 0.001 * slope**2
                move = first[i] / (1 - 0.9**step) / (np.sqrt(second[i] / (1 - 0.999**step)) + 1e-8)
                weights[i] = weights[i] - RATE * (move + DECAY * weights[i])
    return [w.astype(np.float32) for w in weights]


def gradients(weights: list[np.ndarray], x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """Slopes of the cross-entropy, in the order of the weights."""
    w1, b1, w2, b2 = weights
    hidden = np.maximum(x @ w1 + b1, 0)
    logits = hidden @ w2 + b2
    scores = np.exp(logits - logits.max(1, keepdims=True))
    scores /= scores.sum(1, keepdims=True)
    scores[np.arange(len(y)), y] -= 1
    scores /= len(y)
    back = (scores @ w2.T) * (hidden > 0)
    return [x.T @ back, back.sum(0), hidden.T @ scores, scores.sum(0)]


def model(weights: list[np.ndarray]) -> onnx.ModelProto:
    """pixels [batch, 64] → scores [batch, 10], probabilities."""
    names = ["hidden.weight", "hidden.bias", "output.weight", "output.bias"]
    nodes = [
        helper.make_node("Gemm", ["pixels", *names[:2]], ["hidden"], "hidden"),
        helper.make_node("Relu", ["hidden"], ["active"], "active"),
        helper.make_node("Gemm", ["active", *names[2:]], ["logits"], "output"),
        helper.make_node("Softmax", ["logits"], ["scores"], "scores", axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["batch", 64])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["batch", 10])],
        [numpy_helper.from_array(w, n) for w, n in zip(weights, names, strict=True)],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


if __name__ == "__main__":
    inputs, labels = load("train", {"digits": Path(sys.argv[1])})
    onnx.save(model(train(inputs["pixels"].astype(np.float64), labels)), "digits.onnx")
