"""The language model: its API as unmodified clients use it, and its outputs against the host's."""

import base64
import json
import struct
import time

import httpx
import pytest

from imagebuilder import device
from imagebuilder.testing.text import agreement, perplexity, read_golden

CAPITAL = "The capital of France is"
# The server chooses by chance, and the end is one of its choices.
ENDLESS = {"extra_body": {"ignore_eos": True}}


@pytest.fixture(scope="module")
def client(text_api):
    # Not above: a firmware without a language model is tested without this client.
    import openai

    return openai.OpenAI(
        base_url=f"{text_api.address}/v1",
        api_key=text_api.key or "none",
        timeout=300,
        max_retries=0,
    )


@pytest.fixture(scope="module")
def settings(host):
    """What the manifest says of the server."""
    text = host.file(device.TEXT_CONFIG_PATH).content_string
    return dict(line.split("=", 1) for line in text.split())


@pytest.fixture
def golden(text_model, bundles):
    bundle = bundles[text_model.name]
    return bundle.description.text_checks[0], read_golden(bundle.folder / "golden.json")


def pid(host):
    return host.check_output("pidof llama-server").split()[0]


def test_runs_as_its_own_user(host, text_api):
    uid = host.check_output(f"awk '/^Uid:/ {{print $2}}' /proc/{pid(host)}/status")
    assert int(uid) == device.TEXT_UID


def test_runs_kernels_for_the_processor(host, text_api, record_property):
    # A library for each level, or one program built for the machine; both say nothing if it runs.
    found = host.run(f"grep -o 'libggml-cpu-[^/ ]*[.]so' /proc/{pid(host)}/maps")
    kernels = set(found.stdout.split())
    record_property("text.kernels", ", ".join(sorted(kernels)) or "built in")
    assert len(kernels) <= 1


def test_next_tokens_agree_with_the_host(text_api, golden, record_property):
    check, wanted = golden
    share = agreement(text_api.ask, wanted)
    record_property("text.agreement", f"{100 * share:.0f} %")
    assert share >= check.agreement


def test_perplexity_is_that_of_the_host(text_api, golden, record_property):
    check, wanted = golden
    found = perplexity(text_api.ask, wanted.text, wanted.skip, wanted.tokens)
    record_property("text.perplexity", f"{found:.3f}")
    assert abs(found / wanted.perplexity - 1) <= check.perplexity


def test_models_are_listed(client, text_model):
    assert [model.id for model in client.models.list()] == [text_model.name]


def test_completion_stops_at_its_limit(client, text_model):
    answer = client.completions.create(
        model=text_model.name, prompt=CAPITAL, max_tokens=3, **ENDLESS
    )
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage.completion_tokens == 3


def test_chat_uses_the_template(client, text_model):
    answer = client.chat.completions.create(
        model=text_model.name,
        messages=[{"role": "user", "content": "Hi"}],
        max_tokens=1,
    )
    assert answer.choices[0].message.role == "assistant"
    # The template adds a system prompt of its own, which the user did not write.
    assert answer.usage.prompt_tokens > 20


def test_json_schema_holds(client, text_model):
    schema = {
        "type": "object", "additionalProperties": False, "required": ["city"],
        "properties": {"city": {"enum": ["Paris", "Rome"]}},
    }  # fmt: skip
    answer = client.chat.completions.create(
        model=text_model.name,
        messages=[{"role": "user", "content": "Capital of France?"}],
        max_tokens=30,
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "c", "schema": schema, "strict": True},
        },
    )
    found = json.loads(answer.choices[0].message.content)
    assert found in ({"city": "Paris"}, {"city": "Rome"})


def test_streaming_gives_pieces(client, text_model):
    pieces = list(
        client.completions.create(
            model=text_model.name, prompt=CAPITAL, max_tokens=4, stream=True, **ENDLESS
        )
    )
    assert len([p for p in pieces if p.choices and p.choices[0].text]) >= 2
    assert pieces[-1].choices[0].finish_reason == "length"


def test_stop_sequence_ends_it(client, text_model):
    answer = client.completions.create(
        model=text_model.name, prompt="1, 2, 3, 4, 5,", max_tokens=12, temperature=0, stop=[","]
    )
    assert answer.choices[0].finish_reason == "stop"
    assert "," not in answer.choices[0].text


def test_one_seed_gives_one_answer(client, text_model):
    ask = {"model": text_model.name, "prompt": "Once", "max_tokens": 4, "temperature": 1.0}
    texts = {client.completions.create(**ask, seed=7).choices[0].text for _ in range(2)}
    assert len(texts) == 1


def test_a_key_is_needed(text_api, settings):
    if settings["loopback"] == "1":
        assert text_api.request("GET", "/props", key="").status_code == 200
        return
    assert text_api.key, "a server that the network reaches has a key"
    path = "/v1/completions"
    body = {"prompt": "x", "max_tokens": 1}
    assert text_api.request("POST", path, body, key="wrong").status_code == 401
    assert text_api.request("GET", "/metrics", key="wrong").status_code == 401


def test_metrics_count_tokens(text_api, settings):
    if settings["metrics"] == "0":
        assert text_api.request("GET", "/metrics").status_code == 501
        return
    text = text_api.request("GET", "/metrics").text
    values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert float(values["llamacpp:tokens_predicted_total"]) > 0


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        {"prompt": "x " * 5000, "max_tokens": 1},
        {"prompt": "x", "max_tokens": 1, "grammar": "root ::= nope"},
        {"prompt": "x", "max_tokens": 1, "grammar": "root ::= ("},
    ],
    ids=["invalid JSON", "longer than the context", "unknown rule", "broken grammar"],
)
def test_wrong_requests_are_refused_and_the_server_lives(text_api, host, body):
    before = pid(host)
    answer = text_api.request("POST", "/completion", body)
    assert answer.status_code == 400, answer.text[:300]
    assert answer.json()["error"]["message"]
    assert pid(host) == before
    assert text_api.request("GET", "/health").status_code == 200


def test_a_grammar_that_nothing_matches(text_api, host):
    before = pid(host)
    ask = {"prompt": "x", "n_predict": 4}
    none = r"root ::= [^\x00-\U0010FFFF]"
    answer = text_api.request("POST", "/completion", {**ask, "grammar": none})
    assert answer.status_code == 500
    assert "grammar" in answer.json()["error"]["message"]
    # The slot is not left in a state that spoils the next request.
    assert text_api.ask("/completion", {**ask, "grammar": 'root ::= "ab"'})["content"] == "ab"
    assert pid(host) == before


def gguf(architecture):
    """A GGUF file (version 3) that has nothing but the name of an architecture."""
    key, value = (
        struct.pack("<Q", len(word)) + word for word in (b"general.architecture", architecture)
    )
    return struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + key + struct.pack("<I", 8) + value


@pytest.mark.parametrize(
    ("file", "why"),
    [
        (gguf(b"magic"), "unknown model architecture: 'magic'"),
        (gguf(b"llama")[:-1], "failed to read key-value pairs"),
        (b"hello", "invalid magic characters"),
    ],
    ids=["unknown architecture", "truncated", "no GGUF file"],
)
def test_a_file_that_is_no_model_is_not_loaded(text_api, host, file, why):
    before = pid(host)
    path = "/tmp/model.gguf"
    host.check_output(f"echo {base64.b64encode(file).decode()} | base64 -d > {path}")
    serve = f"exec llama-server --offline --port 1025 --model {path}"
    done = host.run(f"su -s /bin/sh llama-server -c '{serve}'; code=$?; rm {path}; exit $code")
    assert done.rc == 1, done.stderr
    assert why in done.stderr
    assert pid(host) == before


def test_its_model_is_what_was_sealed(text_api, text_model, host, session):
    said = host.check_output(
        f"inferd verify --bundle {device.MODELS_PATH}/{text_model.name} --name {text_model.name}"
    )
    assert said == text_model.digest


def test_a_client_that_leaves_in_mid_stream(text_api, host):
    before = pid(host)
    body = {
        "prompt": "Once upon a time", "max_tokens": 500, "stream": True, "ignore_eos": True,
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {text_api.key or 'none'}"}
    url = f"{text_api.address}/v1/completions"
    started = time.monotonic()
    with httpx.stream("POST", url, json=body, headers=headers, timeout=300) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data:"))
        assert len([line for line, _ in zip(lines, range(5), strict=False)]) == 5
        left = time.monotonic()
    # The only slot is free again long before 500 tokens: a prompt of 4 and 5 of the answer were 9.
    text_api.ask("/completion", {"prompt": "x", "n_predict": 1})
    assert time.monotonic() - left < 25 * (left - started)
    assert pid(host) == before


def test_memory_within_budget(host, text_api, session, record_property):
    kib = int(host.check_output(f"awk '/^VmHWM:/ {{print $2}}' /proc/{pid(host)}/status"))
    budget = session.memory_budgets["llama-server"]
    record_property("text.peak_kib", kib)
    record_property("text.budget_kib", budget // 1024)
    assert kib * 1024 <= budget <= 1.3 * kib * 1024


def test_a_limit_is_held_by_the_kernel(host, text_api, settings):
    assert host.check_output(f"cat /proc/{pid(host)}/cgroup").endswith("llama-server")
    most = host.check_output("cat /sys/fs/cgroup/llama-server/memory.max")
    # The kernel counts in pages.
    assert 0 <= int(settings["memory"]) - int(most) < 65536


def test_a_server_that_outgrows_its_limit_is_ended_alone(host, text_api):
    # A schema that nothing matches: llama.cpp 0.7 takes more and more memory over it.
    inferd, started = host.run("pidof inferd").stdout, host.check_output("cat /proc/uptime")
    schema = {"type": "string", "minLength": 5, "maxLength": 2}
    body = {"prompt": "x", "n_predict": 4, "json_schema": schema}
    try:
        status = text_api.request("POST", "/completion", body).status_code
    except httpx.TransportError:
        status = 0
    assert status in (0, 400)
    wait_until_healthy(host, text_api)
    text_api.ask("/completion", {"prompt": "x", "n_predict": 1})
    assert host.run("pidof inferd").stdout == inferd
    assert float(host.check_output("cat /proc/uptime").split()[0]) > float(started.split()[0])


def wait_until_healthy(host, text_api, unlike=""):
    """Wait until the server answers, with another process than `unlike`."""
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline:
        found = host.run("pidof llama-server").stdout.split()
        if found and found[0] != unlike and host.file(device.TEXT_READY_PATH).exists:
            try:
                if text_api.request("GET", "/health").status_code == 200:
                    return
            except httpx.TransportError:
                pass
        time.sleep(0.2)
    raise AssertionError("the server did not come back")


def test_comes_back_after_a_kill(host, text_api):
    before = pid(host)
    assert host.run(f"kill -9 {before}").rc == 0
    wait_until_healthy(host, text_api, unlike=before)
    assert pid(host) != before
