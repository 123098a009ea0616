"""Write float-choices.txt of a bundle: what the vendor's Keras model says of each sample.

python float_choices.py BUNDLE MODEL.h5 SOURCE=FILE ...

BUNDLE is a folder with a data.py, SOURCE=FILE are its sources, MODEL.h5 is in the same archive as
the model. Needs h5py. Layers are computed by their definitions, in float64.
"""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np

Array = np.ndarray
BATCH = 50


def main(bundle: Path, model: Path, sources: dict[str, Path]) -> None:
    """Compute all samples, and write the classes chosen."""
    target = bundle / "float-choices.txt"
    target.write_text("0\n") if not target.exists() else None
    spec = importlib.util.spec_from_file_location("recipe", bundle / "data.py")
    assert spec is not None
    assert spec.loader is not None
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    ((_, inputs),) = recipe.load("test", sources)[0].items()
    if inputs.dtype == np.int8:
        inputs = inputs / 128  # what the model's input scale makes of it
    with h5py.File(model) as file:
        parts = [run(file, inputs[at : at + BATCH]) for at in range(0, len(inputs), BATCH)]
    chosen = np.concatenate(parts).argmax(1)
    target.write_text("".join(f"{choice}\n" for choice in chosen))


def run(file: h5py.File, inputs: Array) -> Array:
    """The model's output."""
    layers = json.loads(file.attrs["model_config"])["config"]["layers"]
    values: dict[str, Array] = {}
    before = ""
    for layer in layers:
        config, kind = layer["config"], layer["class_name"]
        name = layer.get("name") or config["name"]
        nodes = layer.get("inbound_nodes") or []
        given = [values[node[0]] for node in nodes[0]] if nodes else [values.get(before, inputs)]
        weights = {
            key.rsplit("/", 1)[-1].split(":")[0]: np.asarray(file["model_weights"][name][key])
            for key in [
                k.decode() if isinstance(k, bytes) else k
                for k in file["model_weights"][name].attrs["weight_names"]
            ]
        }
        values[name] = compute(kind, config, weights, given)
        before = name
    return values[before]


def compute(kind: str, config: Any, weights: dict[str, Array], given: list[Array]) -> Array:
    """One layer."""
    x = given[0].astype(np.float64)
    if kind in ("Conv2D", "DepthwiseConv2D"):
        x = convolution(x, config, weights)
    elif kind == "BatchNormalization":
        scale = weights["gamma"] / np.sqrt(weights["moving_variance"] + config["epsilon"])
        x = (x - weights["moving_mean"]) * scale + weights["beta"]
    elif kind == "Add":
        x = x + given[1]
    elif kind == "AveragePooling2D":
        high, wide = config["pool_size"]
        rows, columns = x.shape[1] // high, x.shape[2] // wide
        x = x[:, : rows * high, : columns * wide]
        x = x.reshape(len(x), rows, high, columns, wide, -1).mean((2, 4))
    elif kind == "Flatten":
        x = x.reshape(len(x), -1)
    elif kind == "Dense":
        x = x @ weights["kernel"] + weights["bias"]
    elif kind not in ("InputLayer", "Dropout", "Activation"):
        raise SystemExit(f"no layer {kind}")
    return activate(config.get("activation", "linear"), x)


def activate(name: str, x: Array) -> Array:
    """An activation function."""
    if name == "relu":
        return np.maximum(x, 0)
    if name == "softmax":
        e = np.exp(x - x.max(-1, keepdims=True))
        return e / e.sum(-1, keepdims=True)
    return x


def convolution(x: Array, config: Any, weights: dict[str, Array]) -> Array:
    """With padding "same" or none, [N, H, W, C]."""
    kernel = weights.get("kernel", weights.get("depthwise_kernel"))
    assert kernel is not None
    (high, wide), (down, right) = kernel.shape[:2], config["strides"]
    if config["padding"] == "same":
        pads = [(0, 0)]
        for size, length, step in ((x.shape[1], high, down), (x.shape[2], wide, right)):
            total = max((-(-size // step) - 1) * step + length - size, 0)
            pads.append((total // 2, total - total // 2))
        x = np.pad(x, [*pads, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(x, (high, wide), axis=(1, 2))
    windows = windows[:, ::down, ::right]
    if "kernel" in weights:
        return np.tensordot(windows, kernel, ((3, 4, 5), (2, 0, 1))) + weights["bias"]
    return np.einsum("nhwcij,ijc->nhwc", windows, kernel[..., 0]) + weights["bias"]


if __name__ == "__main__":
    main(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        {name: Path(file) for name, file in (item.split("=", 1) for item in sys.argv[3:])},
    )
