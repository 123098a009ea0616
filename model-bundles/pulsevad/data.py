"""Windows of 200 ms of recorded speech with pink noise, said to be speech by their loudness.

The recordings are quiet between words, so a window of the clean recording is speech where it is
within 20 dB of the loudest tenth, and none where it is 35 dB below; what lies between is left
out. Then noise is added at 5 to 20 dB. Features as in pulsevad/frontend_np.py. The recordings of
the two splits are others.
"""

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RATE, WINDOW, HOP = 16_000, 3_200, 1_600
SPLITS = {
    "calibration": ("priv-callee-options", "demo-congrats", "vm-options"),
    "test": ("demo-instruct", "demo-echotest", "basic-pbx-ivr-main", "demo-moreinfo"),
}
PRE_EMPHASIS, FLOOR = 0.97, 1e-5


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`log_mel` float32 [N, 64, 21], labels int64 [N], 1 for speech."""
    chance = np.random.default_rng(0 if split == "test" else 1)
    parts = [labelled(recording(sources[name]), chance) for name in SPLITS[split]]
    waves = np.concatenate([windows for windows, _ in parts])
    labels = np.concatenate([speech for _, speech in parts])
    return {"log_mel": log_mel(waves, np.load(sources["filterbank"]))}, labels.astype(np.int64)


def recording(path: Path) -> np.ndarray:
    """Samples at 16 kHz, interpolated from 8 kHz, float32 from -1 to 1."""
    with wave.open(str(path)) as stream:
        raw = np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32768
    spectrum = np.fft.rfft(raw)
    return (np.fft.irfft(np.pad(spectrum, (0, len(raw) - len(spectrum) + 1)), 2 * len(raw)) * 2
            ).astype(np.float32)  # fmt: skip


def labelled(samples: np.ndarray, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy windows [N, 3200] of what is clearly speech or clearly none, and which it is [N]."""
    starts = np.arange(0, len(samples) - WINDOW, HOP)
    clean = samples[starts[:, None] + np.arange(WINDOW)]
    level = 20 * np.log10(np.sqrt((clean**2).mean(1)) + 1e-9)
    loud = np.percentile(level, 90)
    speech, silence = level > loud - 20, level < loud - 35
    ratio = chance.uniform(5, 20)
    noise = pink(len(samples), chance) * 10 ** ((loud - ratio) / 20)
    noisy = clean + noise[starts[:, None] + np.arange(WINDOW)]
    kept = speech | silence
    return noisy[kept], speech[kept]


def pink(count: int, chance: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with 1/f, of mean power 1."""
    spectrum = np.fft.rfft(chance.standard_normal(count))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    return noise / np.sqrt((noise**2).mean())


def log_mel(waves: np.ndarray, filterbank: np.ndarray) -> np.ndarray:
    """Log-mel features [N, 64, 21] of windows [N, 3200], each bin with mean 0 and deviation 1."""
    steep = waves.copy()
    steep[:, 1:] -= PRE_EMPHASIS * waves[:, :-1]
    steep -= steep.mean(1, keepdims=True)
    steep /= steep.std(1, keepdims=True) + FLOOR
    padded = np.pad(steep, ((0, 0), (256, 256)), mode="reflect")
    window = np.zeros(512)
    window[56:456] = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = padded[:, (160 * np.arange(21))[:, None] + np.arange(512)] * window
    mel = np.log((np.abs(np.fft.rfft(frames)) ** 2) @ filterbank + FLOOR).transpose(0, 2, 1)
    mel = (mel - mel.mean(2, keepdims=True)) / (mel.std(2, keepdims=True) + FLOOR)
    return mel.astype(np.float32)
