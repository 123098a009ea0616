"""One Prometheus scrapes inferd and llama-server, and the overview's rules join them."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from inferd_host import FIXTURES, Inferd, free_port
from test_inferd_monitoring import ALERTS, MONITORING, X, check, query, tool

from imagebuilder.catalog import make_catalog
from imagebuilder.fetch import Fetcher
from imagebuilder.log import QUIET, Log
from imagebuilder.models.build import build_bundle
from imagebuilder.models.llamacpp import unpack_llamacpp
from imagebuilder.state import default_cache

pytestmark = [pytest.mark.inferd, pytest.mark.network]

OVERVIEW = MONITORING / "overview.yml"
SUMMARIZER = Path(__file__).parents[2] / "examples" / "summarizer"
KEY = "k" * 32

FIRING = """
rule_files: [{alerts}, {overview}]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {{series: 'up{{job="inferd",instance="d:1"}}', values: '1x20'}}
      - {{series: 'up{{job="llama-server",instance="d:2"}}', values: '1x5 0x20'}}
      - {{series: 'llamacpp:requests_deferred{{instance="d:2"}}', values: '0x3 5x20'}}
      - {{series: 'llamacpp:n_decode_total{{instance="d:2"}}', values: '5 1 5 1 5 1 5 6 7 8 9 10'}}
      - {{series: 'llamacpp:prompt_seconds_total{{instance="d:2"}}', values: '0+6x20'}}
      - {{series: 'llamacpp:tokens_predicted_seconds_total{{instance="d:2"}}', values: '0+24x20'}}
      - {{series: 'inferd_inference_seconds_sum{{instance="d:1",model="m"}}', values: '0+3x20'}}
      - {{series: 'inferd_queue_length{{instance="d:1",model="m"}}', values: '2x20'}}
    alert_rule_test:
      - {{eval_time: 4m, alertname: LlamaServerDown}}
      - eval_time: 15m
        alertname: LlamaServerDown
        exp_alerts:
          - exp_labels: {{severity: critical, job: llama-server, instance: "d:2"}}
            exp_annotations: {{summary: "d:2 does not answer"}}
      - {{eval_time: 5m, alertname: LlamaServerOverloaded}}
      - eval_time: 18m
        alertname: LlamaServerOverloaded
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "d:2"}}
            exp_annotations: {{summary: "5 requests wait all the time on d:2"}}
      - eval_time: 9m
        alertname: LlamaServerRestarts
        exp_alerts:
          - exp_labels: {{severity: warning, instance: "d:2"}}
            exp_annotations: {{summary: "d:2 starts again and again"}}
    promql_expr_test:
      - expr: server:busy:ratio_rate5m
        eval_time: 10m
        exp_samples:
          - labels: 'server:busy:ratio_rate5m{{instance="d:1",server="inferd"}}'
            value: 0.05
          - labels: 'server:busy:ratio_rate5m{{instance="d:2",server="llama-server"}}'
            value: 0.5
      - expr: server:waiting
        eval_time: 10m
        exp_samples:
          - {{labels: 'server:waiting{{instance="d:1",server="inferd"}}', value: 2}}
          - {{labels: 'server:waiting{{instance="d:2",server="llama-server"}}', value: 5}}
"""


def test_the_rules(tmp_path: Path) -> None:
    check(tool("promtool"), "check", "rules", OVERVIEW)
    (tmp_path / "fire.yml").write_text(FIRING.format(alerts=ALERTS, overview=OVERVIEW))
    check(tool("promtool"), "test", "rules", tmp_path / "fire.yml")


@pytest.fixture
def llama_server(tmp_path: Path) -> Iterator[str]:
    """The shipped language model with the host's llama-server, started as on a device."""
    fetcher = Fetcher(default_cache(), Log(QUIET))
    source = make_catalog().bundle_source("smollm2-135m-instruct")
    model = build_bundle(source, fetcher).folder / "model.gguf"
    tools, port, key = unpack_llamacpp(fetcher), free_port(), tmp_path / "key"
    key.write_text(KEY)
    words = [
        *tools.toolbox.argv("llama-server"), "--offline", "--model", str(model),
        "--host", "127.0.0.1", "--port", str(port), "--ctx-size", "256", "--threads", "1",
        "--parallel", "1", "--cache-ram", "0", "--no-ui", "--fit", "off", "--metrics",
        "--api-key-file", str(key),
    ]  # fmt: skip
    with (tmp_path / "llama.log").open("w") as log:
        process = subprocess.Popen(words, env=tools.environment(), stdout=log, stderr=log)
    address = f"127.0.0.1:{port}"
    try:
        wait_for(lambda: healthy(address))
        yield address
    finally:
        process.terminate()
        process.wait(20)


def healthy(address: str) -> bool:
    try:
        return httpx.get(f"http://{address}/health").is_success
    except httpx.TransportError:
        return False


def wait_for(done: object, seconds: float = 120) -> None:
    assert callable(done)
    deadline = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.2)


def test_one_overview_of_both_servers(inferd: Inferd, llama_server: str, tmp_path: Path) -> None:
    config = inferd.configure([FIXTURES / "good-float"])
    own = json.loads(config.read_text())["listen"]
    jobs = [
        {"job_name": "inferd", "static_configs": [{"targets": [own]}]},
        {
            "job_name": "llama-server",
            "static_configs": [{"targets": [llama_server]}],
            "authorization": {"credentials_file": str(tmp_path / "key")},
        },
    ]
    settings = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS), str(OVERVIEW)],
        "scrape_configs": jobs,
    }
    (tmp_path / "prometheus.yml").write_text(json.dumps(settings))
    address = f"127.0.0.1:{free_port()}"
    words = [
        tool("prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'tsdb'}",
        f"--web.listen-address={address}",
    ]
    with (
        inferd.serve(config) as server,
        (tmp_path / "log").open("w") as log,
        httpx.Client(base_url=f"http://{address}/api/v1") as client,
    ):
        process = subprocess.Popen(words, stdout=log, stderr=log)
        try:
            work(server.client, llama_server)
            both = {("inferd", own), ("llama-server", llama_server)}
            for name in ("server:up == 1", "server:waiting", "server:busy:ratio_rate5m"):
                wait_for(lambda name=name: found(client, name) == both)
            names = set(client.get("/label/__name__/values").json()["data"])
            assert wanted() - names == set()
        finally:
            process.terminate()
            process.wait(20)


def work(client: httpx.Client, llama_server: str) -> None:
    assert client.post("/v2/models/fixture/infer", json=X).is_success
    body = {"prompt": "Once", "n_predict": 2}
    headers = {"Authorization": f"Bearer {KEY}"}
    url = f"http://{llama_server}/completion"
    assert httpx.post(url, json=body, headers=headers, timeout=60).is_success


def found(client: httpx.Client, expression: str) -> set[tuple[str, str]]:
    labels = [entry["metric"] for entry in query(client, expression)]
    return {(entry["server"], entry["instance"]) for entry in labels}


def wanted() -> set[str]:
    """All series of llama-server and of the overview that rules and dashboard ask for."""
    texts = [path.read_text() for path in (ALERTS, OVERVIEW, MONITORING / "dashboard.json")]
    return set(re.findall(r"\b(?:llamacpp|server):[a-z0-9_:]+", "\n".join(texts)))


def test_the_summarizer_chooses_sentences_of_the_text(llama_server: str) -> None:
    text = SUMMARIZER / "doorbell.txt"
    words = [sys.executable, SUMMARIZER / "summarize.py", text, "--address"]
    done = [
        subprocess.run([*words, f"http://{llama_server}", "--key", key], capture_output=True,
                       text=True, check=False)
        for key in (KEY, KEY, "wrong")
    ]  # fmt: skip
    assert [run.returncode for run in done] == [0, 0, 1], done
    assert done[0].stdout == done[1].stdout
    sentences = done[0].stdout.splitlines()
    flat = " ".join(text.read_text().split())
    assert len(set(sentences)) == len(sentences) == 2
    assert all(sentence in flat for sentence in sentences)
    assert done[2].stderr == "the device refused (401): Invalid API Key\n"
