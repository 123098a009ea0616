"""Every model gives on the target what it gave on the host that sealed it."""

import json

import pytest

from imagebuilder import device
from imagebuilder.target import api

# Names of execution providers and delegates that compute on the CPU.
ON_CPU = {"CPUExecutionProvider", "TfLiteXNNPackDelegate", "CPU"}

# Seconds: it runs every model, emulated, maybe on a host with other work.
REPORT_TIMEOUT = 300.0


def test_golden_outputs_over_the_api(target, model, goldens, record_property):
    parity = goldens.compare(goldens.ask(target))
    record_property(f"{model.name}.max_abs", f"{parity.max_abs:.3g}")
    record_property(f"{model.name}.max_rel", f"{parity.max_rel:.3g}")
    record_property(f"{model.name}.agreement", f"{100 * parity.agreement:.4g} %")
    record_property(f"{model.name}.tolerance_used", f"{100 * parity.used:.3g} %")
    record_property(f"{model.name}.samples", len(goldens.inputs))
    assert parity.within, parity


def report_of(target, words):
    """The models' entries of a JSON report, made as the server's user, by name."""
    command = f"su -s /bin/sh {device.SERVER_USER} -c '{device.SERVER_PATH} {words}'"
    done = target.run(command, REPORT_TIMEOUT)
    assert done.stdout, done.stderr
    return {entry["name"]: entry for entry in json.loads(done.stdout)["models"]}


@pytest.fixture(scope="module")
def selftest(target):
    return report_of(target, "selftest")


@pytest.fixture(scope="module")
def bench(target):
    # Few runs: a model that takes milliseconds on a board takes seconds here.
    return report_of(target, "bench --runs 3")


def test_selftest_passes(selftest, model):
    assert selftest[model.name]["pass"], selftest[model.name]
    assert selftest[model.name]["digest"] == model.digest


def test_the_provider_that_ran_is_the_one_asked_for(target, selftest, model, host):
    config = json.loads(host.file(device.SERVER_CONFIG_PATH).content_string)
    asked = next(m for m in config["models"] if m["bundle"].endswith(f"/{model.name}"))
    answer = api.request(target, "GET", f"/v2/models/{model.name}")
    parameters = json.loads(answer.body)["parameters"]
    assert parameters["runtime"] == model.backend
    assert parameters["provider"] == selftest[model.name]["provider"]
    if asked["device"] == "cpu":
        assert set(parameters["provider"].split(",")) <= ON_CPU


def test_wrong_requests_are_refused_and_the_server_lives(target, model):
    path = f"/v2/models/{model.name}/infer"
    for body in (b"", b"{", b"{}", b'{"inputs": []}', b'{"inputs": [{"name": "nope"}]}'):
        assert api.request(target, "POST", path, body).status == 400
    assert api.request(target, "GET", "/v2/models/nope").status == 404
    assert api.request(target, "GET", "/v2/health/live").status == 200


def test_inference_time(bench, model, record_property):
    assert bench[model.name]["median_ms"] > 0
    # Emulated: comparable between builds on one host, never a device's latency.
    record_property(f"{model.name}.emulated_ms", f"{bench[model.name]['median_ms']:.2f}")
