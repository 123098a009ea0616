"""Sequences of recorded speech with pink noise, said to be speech by their loudness.

A sample is a sequence of 32 chunks of 512 samples, each behind the last 64 samples before it, from
a state of zero. A chunk of the clean recording is speech where it is within 25 dB of the loudest
tenth. Then noise is added at 5 to 20 dB. The recordings of the two splits are others.
"""

import wave
from collections.abc import Mapping
from pathlib import Path

import numpy as np

RATE, CHUNK, CONTEXT, STEPS = 16_000, 512, 64, 32
SPLITS = {
    "calibration": ("priv-callee-options", "demo-congrats", "vm-options"),
    "test": ("demo-instruct", "demo-echotest", "basic-pbx-ivr-main", "demo-moreinfo"),
}


def load(split: str, sources: Mapping[str, Path]) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """`input` float32 [N, 32, 576], `h` and `c` [N, 1, 128], labels int64 [N, 32]."""
    chance = np.random.default_rng(0 if split == "test" else 1)
    parts = [sequences(recording(sources[name]), chance) for name in SPLITS[split]]
    chunks = np.concatenate([chunks for chunks, _ in parts])
    labels = np.concatenate([speech for _, speech in parts])
    state = np.zeros((len(chunks), 1, 128), np.float32)
    return {"input": chunks, "h": state, "c": state.copy()}, labels


def recording(path: Path) -> np.ndarray:
    """Samples at 16 kHz, interpolated from 8 kHz, float32 from -1 to 1."""
    with wave.open(str(path)) as stream:
        raw = np.frombuffer(stream.readframes(stream.getnframes()), "<i2") / 32768
    spectrum = np.fft.rfft(raw)
    return (np.fft.irfft(np.pad(spectrum, (0, len(raw) - len(spectrum) + 1)), 2 * len(raw)) * 2
            ).astype(np.float32)  # fmt: skip


def sequences(samples: np.ndarray, chance: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Noisy chunks float32 [N, 32, 576], and whether each is speech, int64 [N, 32].

    Sequences begin every quarter of their length.
    """
    starts = np.arange(CONTEXT, len(samples) - CHUNK * STEPS, CHUNK * STEPS // 4)
    at = starts[:, None, None] + CHUNK * np.arange(STEPS)[:, None] + np.arange(-CONTEXT, CHUNK)
    level = 20 * np.log10(np.sqrt((samples[at[..., CONTEXT:]] ** 2).mean(-1)) + 1e-9)
    loud = np.percentile(level, 90)
    noise = pink(len(samples), chance) * 10 ** ((loud - chance.uniform(5, 20)) / 20)
    return (samples + noise)[at].astype(np.float32), (level > loud - 25).astype(np.int64)


def pink(count: int, chance: np.random.Generator) -> np.ndarray:
    """Noise whose power falls with 1/f, of mean power 1."""
    spectrum = np.fft.rfft(chance.standard_normal(count))
    noise = np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), count)
    return noise / np.sqrt((noise**2).mean())
