"""2,000 malformed requests of more than 40 kinds: the right status each, the server right after."""

import json
import random
import re
import shutil
from collections.abc import Iterator

import malformed
import pytest
from inferd_host import FIXTURES, Inferd, Running

pytestmark = pytest.mark.inferd

EACH = 2000 // len(malformed.KINDS) + 1


@pytest.fixture(scope="module")
def server(inferd_build, tmp_path_factory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("malformed")
    inferd = Inferd(inferd_build / "inferd", folder)
    words = shutil.copytree(FIXTURES / "good-text", folder / "words")
    data = json.loads((words / "bundle.json").read_text())
    (words / "bundle.json").write_text(json.dumps({**data, "name": "words"}))
    (folder / "token").write_text(malformed.TOKEN + "\n")
    bundles = [FIXTURES / "good-types", words]
    config = inferd.configure(bundles, token_file=str(folder / "token"))
    with inferd.serve(config) as running:
        running.client.headers["Authorization"] = f"Bearer {malformed.TOKEN}"
        yield running


def outputs_of(server: Running) -> dict[str, list[object]]:
    answer = server.client.post(malformed.INFER, json=malformed.good())
    assert answer.status_code == 200, answer.text
    return {output["name"]: output["data"] for output in answer.json()["outputs"]}


def answers_of(server: Running, status: int) -> int:
    """How many answers of this status the server has counted."""
    text = server.client.get("/metrics").text
    (count,) = re.findall(rf'^inferd_http_responses_total{{code="{status}"}} (\d+)$', text, re.M)
    return int(count)


def test_there_are_enough() -> None:
    assert len(malformed.KINDS) >= 40
    assert EACH * len(malformed.KINDS) >= 2000


@pytest.mark.parametrize("name", malformed.KINDS)
def test_malformed(server: Running, name: str) -> None:
    kind, rng = malformed.KINDS[name], random.Random(name)
    before = answers_of(server, kind.status)
    for number in range(EACH):
        data = kind.make(rng)
        answer = server.raw(data)
        status = int(answer.split(b" ", 2)[1]) if answer else 0
        assert status == kind.status, (number, data[:1000], answer[:300])
        if kind.status not in (401, 405, 413, 501) and b"application/json" in answer:
            # One answer: what follows it is no JSON. That to HEAD has no body.
            reason = answer.split(b"\r\n\r\n", 1)[1]
            assert json.loads(reason)["error"] if reason else data.startswith(b"HEAD"), data
    assert server.process.poll() is None
    # Also those that the library refuses by itself.
    assert answers_of(server, kind.status) == before + EACH
    assert outputs_of(server) == {
        f"{n}-out": [True] * 3 if n == "bool" else [1] * 3 for n in malformed.NAMES
    }
