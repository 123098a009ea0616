"""Steps of recorded sound, and what the vendor's float model makes of each.

Features have the shape and range of those that the model was trained with (128 mel bands, five
steps, 0 to 237), of other sounds: speech with pink noise, as no recordings of machines ship in a
package. The float model is computed here, from its weights in the vendor's file: `weights.csv` says
where in it they are, as h5py's `get_offset` does.
"""

import csv
import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RATE, HOP, LENGTH, BANDS, STEPS = 16_000, 512, 1_024, 128, 5
TOP, RANGE = 237.0, 80.0
SAMPLES = 600
MODEL = "float-model"


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`input_1` float32 [600, 5, 128, 1]; labels float32 of that shape, the float model's."""
    assert split == "test"
    chance = np.random.default_rng(0)
    names = sorted(set(sources) - {MODEL})
    windows = np.concatenate([features(recording(sources[name]), chance) for name in names])
    chosen = windows[np.arange(SAMPLES) * len(windows) // SAMPLES]
    return {"input_1": chosen}, float_model(chosen, sources[MODEL])


def recording(path: Path) -> np.ndarray:
    """Samples at 16 kHz, interpolated from 8 kHz, -1 to 1."""
    with wave.open(str(path)) as stream:
        raw = np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32768
    spectrum = np.fft.rfft(raw)
    return np.fft.irfft(np.pad(spectrum, (0, len(raw) - len(spectrum) + 1)), 2 * len(raw)) * 2


def features(samples: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Decibels below the loudest in bands, each run of five steps, float32 [N, 5, 128, 1]."""
    noise = np.fft.rfft(chance.standard_normal(len(samples)))
    pink = np.fft.irfft(noise / np.sqrt(np.maximum(np.arange(len(noise)), 1)), len(samples))
    noisy = samples + 0.1 * pink * samples.std() / pink.std()
    frames = np.lib.stride_tricks.sliding_window_view(noisy, LENGTH)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(LENGTH))) ** 2
    level = 10 * np.log10(power @ bands() + 1e-9)
    scaled = np.clip(1 + (level - level.max()) / RANGE, 0, 1) * TOP
    starts = range(0, len(scaled) - STEPS + 1)
    return np.stack([scaled[at : at + STEPS] for at in starts])[..., None].astype(np.float32)


def bands() -> np.ndarray:
    """Triangles that are evenly spread over the mel scale up to 8 kHz, [513, 128]."""
    edges = 700 * np.expm1(np.linspace(0, 1127 * np.log1p(RATE / 2 / 700), BANDS + 2) / 1127)
    at = np.linspace(0, RATE / 2, LENGTH // 2 + 1)[:, None]
    # The lowest bands are narrower than the distance of two frequencies.
    width = RATE / LENGTH
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising = (at - low) / np.maximum(middle - low, width)
    falling = (high - at) / np.maximum(high - middle, width)
    return np.clip(np.minimum(rising, falling), 0, None)


def float_model(inputs: np.ndarray, path: Path) -> np.ndarray:
    """The autoencoder's output: ten dense layers, normalized and cut at 0 but for the last."""
    raw = path.read_bytes()
    with Path(__file__).with_name("weights.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    layers: dict[str, dict[str, np.ndarray]] = {}
    for row in rows:
        shape = [int(axis) for axis in row["shape"].split("x")]
        array = np.frombuffer(raw, "<f4", int(np.prod(shape)), int(row["offset"]))
        layers.setdefault(row["layer"], {})[row["name"]] = array.reshape(shape)
    value = inputs.reshape(len(inputs), -1)
    for layer in layers.values():
        value = value @ layer["kernel"] + layer["bias"]
        if "gamma" in layer:
            value = (value - layer["moving_mean"]) / np.sqrt(layer["moving_variance"] + 1e-3)
            value = np.maximum(value * layer["gamma"] + layer["beta"], 0)
    return value.reshape(inputs.shape)
