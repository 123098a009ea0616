"""openapi.yaml is what inferd answers: from the file to the server, and back."""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema
import pytest
import yaml
from inferd_host import FIXTURES, ROOT, Inferd, Running

pytestmark = pytest.mark.inferd

DOCUMENT = yaml.safe_load((ROOT / "inferd" / "openapi.yaml").read_text())
PATHS: dict[str, Any] = DOCUMENT["paths"]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
TOLD = ("Allow", "Retry-After", "WWW-Authenticate", "Inference-Header-Content-Length")
TOKEN = "a token of this test"
X = {"inputs": [{"name": "x0", "datatype": "FP32", "shape": [1, 3], "data": [1, 2, 3]}]}


@pytest.fixture(scope="module")
def server(inferd_build, tmp_path_factory) -> Iterator[Running]:
    inferd = Inferd(inferd_build / "inferd", tmp_path_factory.mktemp("openapi"))
    (inferd.folder / "token").write_text(TOKEN + "\n")
    config = inferd.configure([FIXTURES / "good-float"], token_file=str(inferd.folder / "token"))
    with inferd.serve(config) as running:
        running.client.headers["Authorization"] = f"Bearer {TOKEN}"
        yield running


def operations(path: str) -> dict[str, Any]:
    """Method → operation."""
    return {key.upper(): value for key, value in PATHS[path].items() if key.upper() in METHODS}


def resolved(item: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in item:
        found: Any = DOCUMENT
        for name in item["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        item = found
    return item


def check(answer: httpx.Response, operation: dict[str, Any]) -> None:
    """Whether the file has an answer of this status, with these headers and such a body."""
    responses = operation["responses"]
    chosen = responses.get(str(answer.status_code), responses.get("default"))
    assert chosen is not None, (answer.request.url, answer.status_code)
    response = resolved(chosen)
    if answer.request.method == "HEAD":
        assert answer.content == b""
        return
    headers = response.get("headers", {})
    assert {name for name in TOLD if name in answer.headers} <= headers.keys()
    for name, header in headers.items():
        assert name in answer.headers or not header.get("required", False), name
    kind = answer.headers["content-type"].partition(";")[0]
    schema = response["content"][kind]["schema"]
    if kind == "application/json":
        rooted = {**schema, "components": DOCUMENT["components"]}
        jsonschema.Draft202012Validator(rooted).validate(answer.json())


@pytest.mark.parametrize("path", PATHS)
def test_what_the_file_has_is_answered(server: Running, path: str) -> None:
    offered = operations(path)
    anyone = offered[next(iter(offered))].get("security") == [{}]
    places = {
        path.format(name="other", version="1.0.0"): False,
        path.format(name="fixture", version="2"): False,
        path.format(name="fixture", version="1.0.0"): True,
    }
    for place, exists in places.items():
        for method in METHODS:
            content = {"json": X} if method == "POST" else {}
            answer = server.client.request(method, place, **content)
            status = 404 if not exists else 200 if method in offered else 405
            assert answer.status_code == status, (method, place)
            check(answer, offered.get(method, next(iter(offered.values()))))
            assert status != 405 or answer.headers["allow"] == ", ".join(offered)
        for method, operation in offered.items():
            headers = {"Authorization": "Bearer another"}
            answer = server.client.request(method, place, headers=headers)
            assert answer.status_code == (200 if anyone else 401), (method, place)
            check(answer, operation)


def test_what_is_answered_is_in_the_file(server: Running) -> None:
    """Every path in the source, and every one as the end of a model's."""
    source = (ROOT / "inferd" / "src" / "service.cpp").read_text()
    words = sorted(set(re.findall(r'"(/[a-z0-9/]*)"', source)))
    model = "/v2/models/fixture"
    found = set()
    for start in ("", model, f"{model}/versions/1.0.0"):
        for word in ("", *words):
            path = (start + word).rstrip("/") or "/"
            if server.client.get(path).status_code == 404:
                continue
            patterns = {p: re.sub(r"\{[a-z]+\}", "[^/]+", p) for p in PATHS}
            templates = [p for p, pattern in patterns.items() if re.fullmatch(pattern, path)]
            assert len(templates) == 1, path
            found.update(templates)
    assert found == PATHS.keys()


def test_what_infer_refuses(server: Running) -> None:
    (operation,) = operations("/v2/models/{name}/infer").values()
    path = "/v2/models/fixture/infer"
    for body, status in (
        (X, 200),
        ({**X, "parameters": {"binary_data_output": True}}, 200),
        ({**X, "id": None, "parameters": None, "outputs": None}, 200),
        ({}, 400),
        ({"inputs": [" " * 200000]}, 413),
        ({**X, "parameters": {"timeout": 1}}, 504),
    ):
        answer = server.client.post(path, json=body)
        assert answer.status_code == status
        check(answer, operation)
        if status in (200, 504):
            rooted = {**DOCUMENT["components"]["schemas"]["Request"],
                      "components": DOCUMENT["components"]}  # fmt: skip
            jsonschema.Draft202012Validator(rooted).validate(body)
    answer = server.client.post(path, json=X, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415
    check(answer, operation)
