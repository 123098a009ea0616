"""Runs a model on processors that this host does not have, emulated by QEMU, without a system.

The library that runs the model chooses its kernels by what the processor has, so its outputs
differ in their last digits, and where a rounding tips over, by a step of INT8.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import safetensors.numpy

from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.hosttools import Toolbox, host_arch, unpack_tools
from imagebuilder.models.data import Split
from imagebuilder.models.differences import Tensors, farthest, largest
from imagebuilder.models.inspect import ONE_THREAD
from imagebuilder.models.runner import Runner, spread
from imagebuilder.models.tolerances import Tolerance, derive
from imagebuilder.run import run

SUITE, PACKAGE = "trixie", "qemu-user"
PROGRAMS = {"amd64": "qemu-x86_64", "arm64": "qemu-aarch64"}
PROCESSORS = {"amd64": ("SandyBridge", "Haswell"), "arm64": ("cortex-a53", "cortex-a76")}
"""Debian's architecture → names that QEMU knows: AVX alone, and AVX2 without VNNI; without and with
the dot products of ARMv8.2. The libraries themselves need AVX."""
SAMPLES = 64
"""Of the evaluation data, to measure a tolerance with: more than a device's golden inputs, since a
rounding that tips over is rare."""
SECONDS = 600.0
"""Time for one processor: it is emulated, maybe on a busy host."""


@dataclass(frozen=True, slots=True)
class Emulator:
    """QEMU for programs of this host's own architecture."""

    toolbox: Toolbox
    arch: str

    @property
    def processors(self) -> tuple[str, ...]:
        """What to run on."""
        return PROCESSORS[self.arch]

    def argv(self, processor: str) -> list[str]:
        """The words that start a program on a processor; QEMU's package links it statically."""
        return [str(self.toolbox.program(PROGRAMS[self.arch])), "-cpu", processor]

    def outputs(self, processor: str, model: Path, inputs: Sequence[Tensors]) -> list[Tensors]:
        """The outputs of all samples; `CommandFailed` if the model does not run there."""
        return run_apart(self.argv(processor), model, inputs)


def unpack_emulator(fetcher: Fetcher) -> Emulator:
    """QEMU in its newest version of Debian's suite, unpacked once."""
    arch = host_arch()
    archive = Archive(fetcher, partial(find_mirrors, fetcher.mirror, fetcher.snapshot))
    found = archive.resolve(SUITE, arch, (PACKAGE,), closure=False)
    return Emulator(unpack_tools(found, archive, fetcher.cache), arch)


def measured_tolerance(model: Path, split: Split, emulator: Emulator) -> Tolerance:
    """The tolerance that a model's differences between processors give; `BuildError` for none."""
    inputs = [split.sample(at) for at in spread(len(split), SAMPLES)]
    here = Runner(model).named(inputs)
    return derive(largest(here), {
        processor: farthest(emulator.outputs(processor, model, inputs), here)
        for processor in emulator.processors
    })  # fmt: skip


def run_apart(prefix: Sequence[str], model: Path, inputs: Sequence[Tensors]) -> list[Tensors]:
    """Run samples in a process of its own, started by the words of `prefix`."""
    with tempfile.TemporaryDirectory(prefix="imagebuilder-") as folder:
        given, made = Path(folder) / "inputs", Path(folder) / "outputs"
        given.write_bytes(_packed(inputs))
        words: list[str | Path] = [sys.executable, "-m", __name__, model.absolute(), given, made]
        run([*prefix, *words], env=ONE_THREAD, timeout=SECONDS)
        return _unpacked(made.read_bytes())


def _packed(samples: Sequence[Tensors]) -> bytes:
    return safetensors.numpy.save({
        f"{number:06}.{name}": np.ascontiguousarray(array)
        for number, sample in enumerate(samples) for name, array in sample.items()
    })  # fmt: skip


def _unpacked(raw: bytes) -> list[Tensors]:
    samples: dict[str, dict[str, np.ndarray]] = {}
    for key, array in sorted(safetensors.numpy.load(raw).items()):
        number, _, name = key.partition(".")
        samples.setdefault(number, {})[name] = array
    return list(samples.values())


def main(model: Path, given: Path, made: Path) -> None:
    """Run the samples of one file, and write their outputs into another."""
    made.write_bytes(_packed(Runner(model).named(_unpacked(given.read_bytes()))))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
