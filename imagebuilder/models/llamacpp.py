"""llama.cpp's own tools on this host, from the packages that its runtime takes for devices."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from imagebuilder.catalog import make_catalog
from imagebuilder.errors import BuildError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.hosttools import Toolbox, host_arch, unpack_tools
from imagebuilder.run import run

EXTRA = ("llama.cpp-tools-extra",)
"""Packages with tools that no device needs."""
CONTEXT = 512
"""Tokens of a chunk; llama-perplexity judges the second half of each."""
PACKAGE_ARCH = {"amd64": "x86_64", "arm64": "aarch64"}
KERNELS = {"amd64": (("avx2", "haswell"), ("", "x64")), "arm64": (("", "armv8.0_1"),)}
"""Debian's architecture → (what the processor must say it has, ggml's build of its kernels)."""


@dataclass(frozen=True, slots=True)
class Perplexity:
    """exp of the mean negative log-likelihood of `tokens` tokens, and its standard error."""

    value: float
    error: float
    tokens: int


@dataclass(frozen=True, slots=True)
class LlamaTools:
    """The unpacked tools; `version` is that of the package."""

    toolbox: Toolbox
    version: str

    @property
    def digest(self) -> str:
        """Identifies the tools."""
        return self.toolbox.digest

    def environment(self) -> dict[str, str]:
        """Names the kernels, which the tools do not find outside their place."""
        try:
            words = set(Path("/proc/cpuinfo").read_text("utf-8", "replace").split())
        except OSError:
            words = set()
        name = next(kernel for needs, kernel in KERNELS[host_arch()] if not needs or needs in words)
        pattern = f"usr/lib/*/ggml/backends0/libggml-cpu-{name}.so"
        return {"GGML_BACKEND_PATH": str(next(self.toolbox.root.glob(pattern)))}

    def quantize(self, model: Path, target: Path, kind: str) -> None:
        """Quantize `model` anew; `CommandFailed` with what the tool said.

        `--allow-requantize` is needed where it is quantized already, and changes nothing elsewhere.
        """
        words: list[str | Path] = ["--allow-requantize", model, target, kind, "1"]
        run([*self.toolbox.argv("llama-quantize"), *words], env=self.environment())

    def perplexity(self, model: Path, text: Path) -> Perplexity:
        """That of a text, in chunks of `CONTEXT` tokens; `BuildError` if it is too short."""
        threads = str(min(4, os.cpu_count() or 1))
        words: list[str | Path] = ["-m", model, "-f", text, "-c", str(CONTEXT), "-t", threads]
        command = [*self.toolbox.argv("llama-perplexity"), *words]
        done = run(command, env=self.environment(), check=False)
        return parse_perplexity((done.stdout + done.stderr).decode("utf-8", "replace"), text.name)


def parse_perplexity(output: str, name: str) -> Perplexity:
    """What llama-perplexity printed about the text `name`; `BuildError` if it measured nothing."""
    chunks = re.search(r"calculating perplexity over (\d+) chunks", output)
    final = re.search(r"Final estimate: PPL = ([0-9.]+) \+/- ([0-9.]+)", output)
    if chunks is None or final is None:
        short = re.search(r"you need at least (\d+) tokens", output)
        hint = f"it needs at least {short[1]} tokens" if short else ""
        last = tuple(line for line in output.splitlines() if line.strip())[-3:]
        raise BuildError(f"{name}: llama-perplexity could not measure it", hint=hint, details=last)
    return Perplexity(float(final[1]), float(final[2]), int(chunks[1]) * CONTEXT // 2)


def unpack_llamacpp(fetcher: Fetcher) -> LlamaTools:
    """The tools of the runtime's suite in its newest version, unpacked once."""
    arch = host_arch()
    source = make_catalog().runtime("llamacpp").targets[PACKAGE_ARCH[arch]].debian
    assert source is not None
    assert source.suite is not None
    archive = Archive(fetcher, partial(find_mirrors, fetcher.mirror, fetcher.snapshot))
    found = archive.resolve(source.suite, arch, (*source.packages, *EXTRA), closure=False)
    version = next(p.version for p in found.packages if p.name == EXTRA[0])
    return LlamaTools(unpack_tools(found, archive, fetcher.cache), version)
