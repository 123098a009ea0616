"""Windows of one second of recorded speech, and what the vendor's float model says of each.

Features have the shape and range of the front end that the model was trained with (TensorFlow's
microfrontend: 50 steps of 20 ms, 10 bands up to 4 kHz, 0 to 224) and are not computed as it does:
logarithms of the energy in bands, with the quietest tenth of a recording at 0.
"""

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RATE, HOP, LENGTH = 8_000, 160, 240
STEPS, BANDS, TOP, RANGE = 50, 10, 224.0, 60.0
SAMPLES = 600


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`input_1` float32 [600, 50, 10, 1]; labels int64 [600], the float model's choices."""
    assert split == "test"
    parts = [features(recording(sources[name])) for name in sorted(sources)]
    windows = np.concatenate(parts)
    chosen = np.arange(SAMPLES) * len(windows) // SAMPLES
    choices = Path(__file__).with_name("float-choices.txt").read_text().split()
    return {"input_1": windows[chosen]}, np.array(choices, np.int64)


def recording(path: Path) -> np.ndarray:
    """Samples at 8 kHz, -1 to 1."""
    with wave.open(str(path)) as stream:
        return np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32768


def features(samples: np.ndarray) -> np.ndarray:
    """Of each tenth of a second the second that begins there, float32 [N, 50, 10, 1]."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, LENGTH)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(LENGTH), 256)) ** 2
    level = 10 * np.log10(power @ bands() + 1e-9)
    floor = np.percentile(level, 10)
    scaled = np.clip((level - floor) / RANGE, 0, 1) * TOP
    starts = range(0, len(scaled) - STEPS + 1, 5)
    return np.stack([scaled[at : at + STEPS] for at in starts])[..., None].astype(np.float32)


def bands() -> np.ndarray:
    """Triangles that are evenly spread over the mel scale from 125 Hz to 4 kHz, [129, 10]."""
    mel = np.linspace(*(1127 * np.log1p(np.array([125.0, 4000.0]) / 700)), BANDS + 2)
    edges = 700 * np.expm1(mel / 1127)
    at = np.linspace(0, RATE / 2, 129)[:, None]
    low, middle, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (at - low) / (middle - low), (high - at) / (high - middle)
    return np.clip(np.minimum(rising, falling), 0, None)
