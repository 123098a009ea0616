"""Prometheus itself, from Debian's package: it scrapes inferd, and its own tool reads the rules."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from inferd_host import FIXTURES, ROOT, Inferd, free_port

pytestmark = pytest.mark.inferd

MONITORING = ROOT / "inferd" / "monitoring"
ALERTS = MONITORING / "alerts.yml"
ROWS = 60
X = {
    "inputs": [
        {"name": "x0", "datatype": "FP32", "shape": [ROWS, 3], "data": [[1, 2, 3]] * ROWS},
    ]
}
SERIES = re.compile(r"\b(?:inferd|process)_[a-z_]+")

FIRING = """
rule_files: [{rules}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="inferd",instance="d"}}', values: '1x5 0x20'}}
      - {{series: 'inferd_requests_total{{instance="d",model="m",code="200"}}', values: '0+90x30'}}
      - {{series: 'inferd_requests_total{{instance="d",model="m",code="500"}}', values: '0+10x30'}}
      - {{series: 'inferd_http_responses_total{{instance="d",code="401"}}', values: '0x5 0+20x20'}}
      - {{series: 'inferd_reload_successful{{instance="d"}}', values: '1x5 0x120 1x20'}}
      - {{series: 'inferd_queue_seconds_bucket{{instance="d",model="m",le="1"}}', values: '0x150'}}
      - {{series: 'inferd_queue_seconds_bucket{{instance="d",model="m",le="2.5"}}',
          values: '0x10 0+60x140'}}
      - {{series: 'inferd_queue_seconds_bucket{{instance="d",model="m",le="+Inf"}}',
          values: '0x10 0+60x140'}}
      - {{series: 'process_start_time_seconds{{job="inferd",instance="d"}}',
          values: '100x10 200 300 400x20'}}
      - {{series: 'inferd_drift_psi{{instance="d",model="m"}}', values: '0.09x5 0.5x20'}}
    alert_rule_test:
      - {{eval_time: 4m, alertname: InferdDown}}
      - eval_time: 20m
        alertname: InferdDown
        exp_alerts:
          - exp_labels: {{severity: critical, job: inferd, instance: d}}
            exp_annotations: {{summary: "d does not answer"}}
      - eval_time: 20m
        alertname: InferdErrors
        exp_alerts:
          - exp_labels: {{severity: warning, instance: d, model: m}}
            exp_annotations: {{summary: "m on d fails 10% of its requests"}}
      - {{eval_time: 4m, alertname: InferdUnauthorized}}
      - eval_time: 20m
        alertname: InferdUnauthorized
        exp_alerts:
          - exp_labels: {{severity: warning, instance: d, code: "401"}}
            exp_annotations: {{summary: "d is asked again and again without the right token"}}
      - {{eval_time: 4m, alertname: InferdReloadFailed}}
      - eval_time: 20m
        alertname: InferdReloadFailed
        exp_alerts:
          - exp_labels: {{severity: warning, instance: d}}
            exp_annotations: {{summary: "d serves old models: the new ones did not pass"}}
      - eval_time: 2h
        alertname: InferdReloadFailed
        exp_alerts:
          - exp_labels: {{severity: warning, instance: d}}
            exp_annotations: {{summary: "d serves old models: the new ones did not pass"}}
      - {{eval_time: 130m, alertname: InferdReloadFailed}}
      - {{eval_time: 10m, alertname: InferdOverloaded}}
      - eval_time: 30m
        alertname: InferdOverloaded
        exp_alerts:
          - exp_labels: {{severity: warning, instance: d, model: m}}
            exp_annotations: {{summary: "requests wait 2.35s for m on d"}}
      - {{eval_time: 12m, alertname: InferdRestarts}}
      - eval_time: 14m
        alertname: InferdRestarts
        exp_alerts:
          - exp_labels: {{severity: warning, job: inferd, instance: d}}
            exp_annotations: {{summary: "d starts again and again"}}
      - {{eval_time: 40m, alertname: InferdRestarts}}
      - {{eval_time: 14m, alertname: InferdDrift}}
      - eval_time: 20m
        alertname: InferdDrift
        exp_alerts:
          - exp_labels: {{severity: warning, instance: d, model: m}}
            exp_annotations:
              summary: "m on d is not asked what it was evaluated with (index 0.50)"
"""


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"not run: this host has no {name} (Debian's package prometheus)")
    return found


def check(*words: str | Path) -> None:
    result = subprocess.run(words, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_alert_rules(tmp_path: Path) -> None:
    check(tool("promtool"), "check", "rules", ALERTS)
    (tmp_path / "fire.yml").write_text(FIRING.format(rules=ALERTS))
    check(tool("promtool"), "test", "rules", tmp_path / "fire.yml")


def expressions() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    panels = dashboard["panels"]
    return [ALERTS.read_text(), *(target["expr"] for p in panels for target in p["targets"])]


@pytest.fixture
def prometheus(inferd: Inferd, tmp_path: Path) -> Iterator[tuple[httpx.Client, str]]:
    """A Prometheus that scrapes the server at the address every second."""
    config = inferd.configure([FIXTURES / "good-drift"])
    target = json.loads(config.read_text())["listen"]
    settings = {
        "global": {"scrape_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "inferd", "static_configs": [{"targets": [target]}]}],
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    words = [
        tool("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address={address}",
    ]
    with inferd.serve(config) as server:
        for _ in range(7):
            assert server.client.post("/v2/models/fixture/infer", json=X).is_success
        with (tmp_path / "log").open("w") as log:
            process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            with httpx.Client(base_url=f"http://{address}/api/v1") as client:
                yield client, target
        finally:
            process.terminate()
            process.wait(20)


def query(client: httpx.Client, expression: str) -> list[Any]:
    try:
        answer = client.get("/query", params={"query": expression}).json()
    except (httpx.TransportError, json.JSONDecodeError):
        return []
    return answer.get("data", {}).get("result", [])


def test_prometheus_scrapes(prometheus: tuple[httpx.Client, str]) -> None:
    client, target = prometheus
    deadline = time.monotonic() + 60
    while not query(client, "inferd_model_info"):
        assert time.monotonic() < deadline, "Prometheus has no series"
        time.sleep(0.2)
    (up,) = query(client, "up")
    assert (up["metric"]["instance"], up["value"][1]) == (target, "1")
    (count,) = query(client, 'inferd_requests_total{code="200"}')
    assert count["value"][1] == "7"
    (samples,) = query(client, "inferd_drift_samples")
    assert samples["value"][1] == str(7 * ROWS)
    quantile = "histogram_quantile(0.5, inferd_inference_seconds_bucket)"
    (median,) = query(client, quantile)
    assert 0 < float(median["value"][1]) < 1
    names = set(client.get("/label/__name__/values").json()["data"])
    asked = {name for text in expressions() for name in SERIES.findall(text)}
    assert asked - names == set()
    (state,) = client.get("/targets").json()["data"]["activeTargets"]
    assert (state["health"], state["lastError"]) == ("up", "")
