"""ONNX's operator models through inferd on this host, compared with ONNX Runtime's own Python.

A sample; IMAGEBUILDER_NIGHTLY runs all of them.
"""

import json
import logging
import os
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from inferd_host import Inferd, Running

from imagebuilder.conformance.bundles import write_bundles
from imagebuilder.conformance.cases import (
    Case,
    Named,
    find_models,
    model_name,
    read_case,
    spread,
)
from imagebuilder.conformance.outcome import FAILED, PASSED, Outcome, of_report
from imagebuilder.conformance.reference import judge, reference_outcomes
from imagebuilder.errors import UserError
from imagebuilder.fetch import Fetcher
from imagebuilder.fetch.debian import Archive, find_mirrors
from imagebuilder.hosttools import host_arch
from imagebuilder.log import QUIET, Log
from imagebuilder.run import run
from imagebuilder.state import default_cache, new_folder

pytestmark = [pytest.mark.inferd, pytest.mark.network]

LOG = logging.getLogger(__name__)
"""Shown by --log-cli-level=INFO."""

SAMPLE = None if os.environ.get("IMAGEBUILDER_NIGHTLY") else 24
BATCH = 50
HTTP_DTYPES = {"float16": "FP16", "float32": "FP32", "float64": "FP64", "bool": "BOOL"}


NOT_FINITE = ("cast_STRING_to_FLOAT", "isinf", "isnan_float16", "operator_sqrt")
"""Models whose tensors have infinities or values that are no number."""


@pytest.fixture(scope="module")
def models() -> list[Path]:
    archive = Archive(Fetcher(default_cache(), Log(QUIET)), partial(find_mirrors, None, None))
    names = ("libonnx-testdata",)
    try:
        package = archive.resolve("trixie", host_arch(), names, closure=False).packages[0]
    except UserError as error:
        pytest.skip(f"not run: no operator models: {error}")
    root = default_cache().root / "operators" / package.sha256
    if not root.is_dir():
        file = archive.fetch(package)
        with new_folder(root) as folder:
            run(["dpkg-deb", "-x", file, folder])
    return find_models(root)


@pytest.fixture(scope="module")
def cases(models: list[Path]) -> list[Case]:
    return [read_case(path) for path in spread(models, SAMPLE)]


@pytest.fixture(scope="module")
def reference(cases: list[Case]) -> dict[str, Outcome]:
    return reference_outcomes(cases)


def selftest(inferd: Inferd, bundles: dict[str, Case], folder: Path) -> dict[str, Outcome]:
    names, found = list(bundles), {}
    for begin in range(0, len(names), BATCH):
        config = inferd.configure([folder / name for name in names[begin : begin + BATCH]])
        done = inferd.run("selftest", "--apart", "60", "--config", config)
        assert done.returncode in (0, 1), done.stderr
        for report in json.loads(done.stdout)["models"]:
            found[bundles[report["bundle"].rpartition("/")[2]].name] = of_report(report)
    return found


def test_what_passes_in_python_passes_here(
    inferd: Inferd,
    cases: list[Case],
    reference: dict[str, Outcome],
    tmp_path: Path,
) -> None:
    bundles = write_bundles(cases, tmp_path / "bundles")
    found = selftest(inferd, bundles, tmp_path / "bundles")
    both = Counter((found[name].status, reference[name].status) for name in found)
    LOG.info("inferd, Python: %s", both)
    other = {
        name: (outcome, reference[name])
        for name, outcome in found.items()
        if outcome.status != reference[name].status
    }
    for name, outcome in found.items():
        if outcome.status == FAILED:
            LOG.info("%s: %s | %s", name, outcome.reason, reference[name].reason)
    assert other == {}


def described(item: Named) -> dict[str, Any]:
    kind = item.dtype
    datatype = HTTP_DTYPES.get(kind, "BYTES" if kind == "string" else kind.upper())
    return {"name": item.name, "datatype": datatype, "shape": item.array.shape}


def spoken(item: Named) -> dict[str, Any]:
    """A tensor as JSON has it."""
    flat = item.array.reshape(-1)
    data = [text.decode() for text in flat] if item.dtype == "string" else flat.tolist()
    return {**described(item), "data": data}


def packed(item: Named) -> bytes:
    """A tensor as the binary extension has it."""
    if item.dtype != "string":
        return item.array.tobytes()
    return b"".join(len(text).to_bytes(4, "little") + text for text in item.array.reshape(-1))


def heard(output: dict[str, Any], like: Named) -> np.ndarray:
    kind = object if like.dtype == "string" else like.array.dtype
    return np.array(output["data"], kind).reshape(output["shape"])


def finite(case: Case) -> bool:
    """Whether JSON can have the tensors of a model: it has no infinity."""
    items = (*case.inputs, *case.outputs)
    arrays = [item.array for item in items if item.array.dtype.kind == "f"]
    return all(np.isfinite(array).all() for array in arrays)


def ask(server: Running, name: str, case: Case) -> Outcome:
    body = {"inputs": [spoken(item) for item in case.inputs]}
    answer = server.client.post(f"/v2/models/{name}/infer", json=body)
    assert answer.status_code == 200, (name, answer.text[:500])
    outputs = {output["name"]: output for output in answer.json()["outputs"]}
    return judge([heard(outputs[item.name], item) for item in case.outputs], case.outputs)


def ask_in_bytes(server: Running, name: str, case: Case) -> Outcome:
    """The same with tensors as bytes, of request and answer; text of an answer is not read."""
    parts = [packed(item) for item in case.inputs]
    inputs = [
        {**described(item), "parameters": {"binary_data_size": len(part)}}
        for item, part in zip(case.inputs, parts, strict=True)
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    answer = server.client.post(
        f"/v2/models/{name}/infer",
        content=head + b"".join(parts),
        headers={"Inference-Header-Content-Length": str(len(head))},
    )
    assert answer.status_code == 200, (name, answer.text[:500])
    size = int(answer.headers["Inference-Header-Content-Length"])
    rest, found = answer.content[size:], {}
    for output in json.loads(answer.content[:size])["outputs"]:
        count = output["parameters"]["binary_data_size"]
        found[output["name"]], rest = (output["shape"], rest[:count]), rest[count:]
    assert rest == b""
    results = []
    for item in case.outputs:
        shape, part = found[item.name]
        results.append(np.frombuffer(part, item.array.dtype).reshape(shape))
    return judge(results, case.outputs)


def test_what_json_cannot_have_travels_as_bytes(
    inferd: Inferd, models: list[Path], tmp_path: Path
) -> None:
    chosen = [path for path in models if SAMPLE is None or model_name(path) in NOT_FINITE]
    cases = [case for case in map(read_case, chosen) if not case.unsupported and not finite(case)]
    assert len(cases) >= len(NOT_FINITE)
    reference = reference_outcomes(cases)
    sound = [case for case in cases if reference[case.name].status == PASSED]
    assert len(sound) >= len(NOT_FINITE)
    bundles = write_bundles(sound, tmp_path / "bundles")
    config = inferd.configure([tmp_path / "bundles" / name for name in bundles])
    with inferd.serve(config) as server:
        found = {case.name: ask_in_bytes(server, name, case) for name, case in bundles.items()}
    LOG.info("as bytes: %s", sorted(found))
    wrong = {name: outcome for name, outcome in found.items() if outcome.status != PASSED}
    assert wrong == {}


def test_the_same_through_the_protocol(
    inferd: Inferd, cases: list[Case], reference: dict[str, Outcome], tmp_path: Path
) -> None:
    sound = [c for c in cases if reference[c.name].status == PASSED and finite(c)]
    bundles = write_bundles(sound[:: max(1, len(sound) // 100)], tmp_path / "bundles")
    assert len(bundles) >= 12
    config = inferd.configure([tmp_path / "bundles" / name for name in bundles])
    with inferd.serve(config) as server:
        found = {case.name: ask(server, name, case) for name, case in bundles.items()}
    wrong = {name: outcome for name, outcome in found.items() if outcome.status != PASSED}
    assert wrong == {}
