"""Drift of the real digits bundle: what it was not built with raises the index, held-out data not.

The bundle is sealed anew with histograms of the first 400 evaluation samples; the other 319 are
held out. All parts but the numbers of samples are those of `imagebuilder model build`.
"""

import dataclasses
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from inferd_host import Inferd, Running

from imagebuilder.bundle.drift import drift_bytes
from imagebuilder.bundle.reader import SealedBundle
from imagebuilder.catalog import make_catalog
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle, fetch_all
from imagebuilder.models.data import Split, load_split
from imagebuilder.models.drift import drift_reference
from imagebuilder.models.runner import Runner
from imagebuilder.state import default_cache

pytestmark = [pytest.mark.inferd, pytest.mark.network]

REFERENCE = 400
ROWS = 50
SOURCE = make_catalog().bundle_source("digits")


def part(split: Split, at: slice) -> Split:
    inputs = {name: array[at] for name, array in split.inputs.items()}
    return dataclasses.replace(split, inputs=inputs, labels=split.labels[at])


@pytest.fixture(scope="module")
def sealed() -> SealedBundle:
    return build_bundle(SOURCE, Fetcher(default_cache(), Log(QUIET)))


@pytest.fixture(scope="module")
def evaluation() -> Split:
    assert SOURCE.data is not None
    _, files = fetch_all(SOURCE, Fetcher(default_cache(), Log(QUIET)))
    return load_split(SOURCE, SOURCE.data.evaluation, ("data", "evaluation"), files)


@pytest.fixture(scope="module")
def bundle(sealed: SealedBundle, evaluation: Split, tmp_path_factory) -> Path:
    """The real bundle, with the histograms of a part of its evaluation data."""
    folder = tmp_path_factory.mktemp("drift") / "digits"
    shutil.copytree(sealed.folder, folder)
    runner = Runner(folder / sealed.description.model.file)
    reference = drift_reference(SOURCE, runner, part(evaluation, slice(REFERENCE)))
    assert reference is not None
    raw = drift_bytes(reference)
    (folder / "drift.json").write_bytes(raw)
    data = json.loads((folder / "bundle.json").read_text())
    data["files"]["drift.json"] = {"size": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (folder / "bundle.json").write_text(json.dumps(data))
    return folder


@pytest.fixture
def server(inferd: Inferd, bundle: Path) -> Iterator[Running]:
    with inferd.serve(inferd.configure([bundle])) as running:
        yield running


def ask(server: Running, pixels: np.ndarray) -> None:
    for start in range(0, len(pixels), ROWS):
        rows = pixels[start : start + ROWS]
        one = {"name": "pixels", "datatype": "FP32", "shape": list(rows.shape)}
        body = {"inputs": [{**one, "data": rows.tolist()}]}
        assert server.client.post("/v2/models/digits/infer", json=body).is_success


def drift(server: Running) -> dict[str, float]:
    """Index of each statistic, and of the model as ``."""
    text = server.client.get("/metrics").text
    found = {
        statistic: float(value)
        for statistic, value in re.findall(
            r'^inferd_drift_statistic_psi\{model="digits",.*statistic="(\w+)"\} (\S+)$', text, re.M
        )
    }
    whole = re.search(r'^inferd_drift_psi\{model="digits"\} (\S+)$', text, re.M)
    assert (whole is None) == (not found)
    if whole is not None:
        assert float(whole[1]) == max(found.values())
    return found


def test_held_out_data_have_not_drifted(server: Running, evaluation: Split) -> None:
    held_out = evaluation.inputs["pixels"][REFERENCE:]
    ask(server, held_out[:299])
    assert drift(server) == {}
    ask(server, held_out[299:])
    found = drift(server)
    assert set(found) == {"values", "mean", "deviation", "top", "choice"}
    assert max(found.values()) < 0.1


@pytest.mark.parametrize(
    ("change", "seen_by"),
    [
        (lambda x, _: x * 0.5, {"values", "mean", "deviation", "top"}),
        (lambda x, _: 1 - x, {"values", "mean", "top", "choice"}),
        (lambda x, _: np.clip(x + np.random.default_rng(0).normal(0, 0.2, x.shape), 0, 1),
         {"mean", "deviation"}),
        (lambda x, labels: x[labels < 5], {"choice"}),
    ],
    ids=["darker", "inverted", "noisy", "half-of-the-classes"],
)  # fmt: skip
def test_shifted_data_have_drifted(
    server: Running, evaluation: Split, change: Callable[..., np.ndarray], seen_by: set[str]
) -> None:
    pixels, labels = evaluation.inputs["pixels"][REFERENCE:], evaluation.labels[REFERENCE:]
    shifted = change(pixels, labels).astype(np.float32)
    for _ in range(1 + 299 // len(shifted)):
        ask(server, shifted)
    found = drift(server)
    assert {name for name, index in found.items() if index > 0.25} == seen_by


def test_the_bundle_as_it_is_built(inferd: Inferd, sealed: SealedBundle, evaluation: Split) -> None:
    """What inferd counts is what the host counted: its own evaluation data have an index of 0."""
    with inferd.serve(inferd.configure([sealed.folder])) as server:
        ask(server, evaluation.inputs["pixels"])
        found = drift(server)
        assert max(found.values()) < 0.001
        assert {n: i for n, i in found.items() if n not in ("top", "choice")} == {
            "values": 0, "mean": 0, "deviation": 0
        }  # fmt: skip


def test_a_reload_of_the_same_bundle_keeps_the_histograms(
    server: Running, evaluation: Split
) -> None:
    ask(server, evaluation.inputs["pixels"][REFERENCE:])
    before = drift(server)
    assert before
    server.process.send_signal(1)
    while 'inferd_reloads_total{result="success"} 1' not in server.client.get("/metrics").text:
        pass
    assert drift(server) == before
