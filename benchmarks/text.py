"""What the firmware's configuration of llama-server costs beside llama-bench; see README.md."""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from imagebuilder.catalog import make_catalog
from imagebuilder.device import TEXT_BATCH
from imagebuilder.fetch import Fetcher
from imagebuilder.hosttools import Toolbox
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.models.llamacpp import unpack_llamacpp
from imagebuilder.state import default_cache
from imagebuilder.target.ports import HeldPorts

SHORT, LONG = 16, 144
"""Tokens of two runs: their difference leaves out loading and the prompt."""
MODEL = "smollm2-135m-instruct"
PROMPT = "Summarize the text in one short sentence. " + "The doorbell rang in the night. " * 16


def main() -> None:
    """Measure both, alternately, and print seconds of the processor for each token."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--kernels", default="haswell", help="ggml's build of the CPU kernels")
    options = parser.parse_args()
    fetcher = Fetcher(default_cache(), Log(QUIET))
    model = build_bundle(make_catalog().bundle_source(MODEL), fetcher).folder / "model.gguf"
    tools = unpack_llamacpp(fetcher).toolbox
    kernels = next(tools.root.glob(f"usr/lib/*/ggml/backends0/libggml-cpu-{options.kernels}.so"))
    environment = {**os.environ, "GGML_BACKEND_PATH": str(kernels)}
    with tempfile.TemporaryFile() as log, Server(tools, model, environment, log) as server:
        server.generate("Once", 4)
        rows = [
            (difference(server.cost), difference(partial(bench, tools, model, environment)))
            for _ in range(options.runs)
        ]
        ours, peer = (statistics.median(row[at] for row in rows) for at in (0, 1))
        print(f"{'generation, llama-bench':40} {1000 * peer:8.2f} ms of CPU a token")
        print(f"{'generation, llama-server as shipped':40} {1000 * ours:8.2f}  x {ours / peer:.2f}")
        first, again = server.first_token(), server.first_token()
        print(f"{'first token, prompt new':40} {first:8.2f} s")
        print(f"{'first token, prompt cached':40} {again:8.2f}  x {again / first:.3f}")


class Server:
    """llama-server with the words of the device's script, for a `with` block."""

    def __init__(self, tools: Toolbox, model: Path, env: Mapping[str, str], log: Any) -> None:
        with HeldPorts() as held:
            self._port = held.free()
        words = [
            "--offline", "--model", str(model), "--host", "127.0.0.1", "--port", str(self._port),
            "--ctx-size", "2048", "--threads", "1", "--threads-batch", "1",
            "--batch-size", str(TEXT_BATCH), "--ubatch-size", str(TEXT_BATCH), "--parallel", "1",
            "--threads-http", "4", "--cache-ram", "0", "--no-ui", "--no-slots", "--fit", "off",
        ]  # fmt: skip
        argv = [*tools.argv("llama-server"), *words]
        self._process = subprocess.Popen(argv, env=env, stdout=log, stderr=log)

    def __enter__(self) -> Server:
        """Wait until it is healthy."""
        while self._process.poll() is None:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._port}/health"):
                    return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        raise RuntimeError("llama-server has ended")

    def __exit__(self, *_: object) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait()

    def generate(self, prompt: str, tokens: int) -> None:
        """Generate exactly so many tokens."""
        body = {"prompt": prompt, "n_predict": tokens, "temperature": 0, "ignore_eos": True}
        address = f"http://127.0.0.1:{self._port}/completion"
        with urllib.request.urlopen(address, json.dumps(body).encode()) as answer:
            assert json.load(answer)["tokens_predicted"] == tokens

    def cost(self, tokens: int) -> float:
        """Processor seconds of a generation."""
        before = self._seconds()
        self.generate("Once", tokens)
        return self._seconds() - before

    def first_token(self) -> float:
        """Wall seconds from the request to one token."""
        started = time.monotonic()
        self.generate(PROMPT, 1)
        return time.monotonic() - started

    def _seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def bench(tools: Toolbox, model: Path, env: Mapping[str, str], tokens: int) -> float:
    """Processor seconds of llama-bench generating so many tokens."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["-m", str(model), "-p", "0", "-n", str(tokens), "-t", "1", "-r", "1", "-o", "json"]
    subprocess.run([*tools.argv("llama-bench"), *words], env=env, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def difference(cost: Any) -> float:
    """Processor seconds of one token: a long run less a short one."""
    found: float = (cost(LONG) - cost(SHORT)) / (LONG - SHORT)
    return found


if __name__ == "__main__":
    main()
