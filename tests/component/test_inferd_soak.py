"""Many requests: every answer right, and memory that stays.

IMAGEBUILDER_SOAK is their number, 1000000 in the nightly form.
"""

import logging
import os
import re
import struct
import subprocess
from pathlib import Path

import inferd_host
import pytest
from inferd_host import ROOT, Inferd, Running

from imagebuilder.catalog import make_catalog
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.state import default_cache

LOG = logging.getLogger(__name__)
"""Shown by --log-cli-level=INFO."""

REQUESTS = int(os.environ.get("IMAGEBUILDER_SOAK", "0"))
ROWS = 64
"""So many take longer than the event loop may be held up: they go through the queue."""
SHARE = 20
"""One request in so many is one of these."""

pytestmark = [
    pytest.mark.inferd,
    pytest.mark.skipif(REQUESTS == 0, reason="not run: nightly, IMAGEBUILDER_SOAK=1000000"),
]


@pytest.fixture
def release(tmp_path: Path) -> Inferd:
    """Without sanitizers, which keep what was freed."""
    inferd_host.check_tools()
    folder = inferd_host.build_folder("release")
    settings = {"CMAKE_BUILD_TYPE": "MinSizeRel", "INFERD_TESTS": "OFF"}
    inferd_host.compile_into(folder, settings, "inferd")
    return Inferd(folder / "inferd", tmp_path)


def request(rows: int) -> bytes:
    values = struct.pack(f"<{64 * rows}f", *(n % 17 for n in range(64 * rows)))
    text = (
        f'{{"inputs": [{{"name": "pixels", "datatype": "FP32", "shape": [{rows}, 64],'
        f' "parameters": {{"binary_data_size": {len(values)}}}}}]}}'
    ).encode()
    head = (
        "POST /v2/models/digits/infer HTTP/1.1\r\nHost: a\r\n"
        f"Inference-Header-Content-Length: {len(text)}\r\n"
        f"Content-Length: {len(text) + len(values)}\r\n\r\n"
    )
    return head.encode() + text + values


def resident(server: Running) -> int:
    text = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", text)[1])


def test_soak(release: Inferd, tmp_path: Path) -> None:
    load = tmp_path / "load"
    subprocess.run(["gcc", "-O2", ROOT / "benchmarks" / "load.c", "-o", load], check=True)
    small, large = tmp_path / "small", tmp_path / "large"
    small.write_bytes(request(1))
    large.write_bytes(request(ROWS))
    fetcher = Fetcher(default_cache(), Log(QUIET))
    bundle = build_bundle(make_catalog().bundle_source("digits"), fetcher).folder

    with release.serve(release.configure([bundle])) as server:

        def send(count: int) -> None:
            for path, share in ((small, count - count // SHARE), (large, count // SHARE)):
                words = [load, server.address.split(":")[1], path, "8", str(share)]
                done = subprocess.run(words, capture_output=True, text=True, check=False)
                assert done.returncode == 0, done.stdout + done.stderr
                LOG.info("%s: %s", path.name, done.stdout.strip())

        send(REQUESTS // 20)
        before = resident(server)
        send(REQUESTS)
        after = resident(server)
        metrics = server.client.get("/metrics").text
    LOG.info("resident: %d KiB, then %d", before, after)
    total = REQUESTS // 20 + REQUESTS
    assert f'inferd_requests_total{{model="digits",code="200"}} {total}\n' in metrics
    assert not re.search(r'code="[45]\d\d"} [1-9]', metrics)
    assert after < before * 1.01
