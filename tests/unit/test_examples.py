"""What the examples' scripts do without a device."""

import importlib.util
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "examples" / "summarizer" / "summarize.py"
spec = importlib.util.spec_from_file_location("summarize", SCRIPT)
assert spec is not None
assert spec.loader is not None
summarize = importlib.util.module_from_spec(spec)
spec.loader.exec_module(summarize)


def test_a_stream_with_lines_that_only_keep_it_alive() -> None:
    stream = [
        ":\n", "\n", 'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}\n',
        "\n", ": ping\n", 'data: {"choices": [{"delta": {"content": "It rang."}}]}\n',
        'data: {"choices": []}\n', "data: [DONE]\n",
    ]  # fmt: skip
    assert "".join(summarize.pieces(stream)) == "It rang."


def test_sentences_go_on_in_new_lines_and_come_once() -> None:
    text = "It rang. Who\nis it?  Nobody!\n\nIt rang. A last one without a dot"
    found = ["It rang.", "Who is it?", "Nobody!", "A last one without a dot"]
    assert summarize.sentences(text) == found
    assert summarize.sentences(" \n") == []


def test_a_grammar_of_just_these_sentences() -> None:
    made = summarize.grammar(['He said "hé".', "a\\b"])
    assert made == 'root ::= "He said \\"hé\\"." | "a\\\\b"'


def test_a_text_without_a_sentence_asks_nothing() -> None:
    assert list(summarize.choose("", "http://127.0.0.1:1", "", 2)) == []


@pytest.mark.parametrize(
    ("written", "why"),
    [
        (None, "[Errno 2] No such file or directory: '{file}'"),
        (b"\xff", "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"),
    ],
)
def test_a_text_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    written: bytes | None, why: str,
) -> None:  # fmt: skip
    file = tmp_path / "text.txt"
    if written is not None:
        file.write_bytes(written)
    monkeypatch.setattr("sys.argv", ["summarize.py", str(file)])
    assert summarize.main() == 1
    assert capsys.readouterr().err == f"cannot read {file}: {why.format(file=file)}\n"


def said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> tuple[int, str]:
    monkeypatch.setattr("sys.argv", ["summarize.py", *map(str, words)])
    return summarize.main(), capsys.readouterr().err


def test_an_empty_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "text.txt"
    file.write_text(" \n")
    why = f"there is nothing to summarize in {file}\n"
    assert said(monkeypatch, capsys, file) == (1, why)


CHUNK = b'data: {"choices": [{"delta": {"content": "It"}}]}\n\n'


@pytest.mark.parametrize(
    ("status", "body", "length", "why"),
    [
        (400, b'{"error": {"message": "too long"}}', 34, "the device refused (400): too long"),
        (404, b'{"error": "not found"}', 22, 'the device refused (404): {"error": "not found"}'),
        (503, b"", 0, "the device refused (503): no reason given"),
        (200, CHUNK + b'data: {"error": {"message": "no room"}}\n\n', 95,
         "the device refused: no room"),
        (200, CHUNK + b"data: {", 60,
         "the answer from {address} broke off: Expecting property name enclosed in double quotes: "
         "line 1 column 3 (char 2)"),
    ],
)  # fmt: skip
def test_a_device_that_does_not_do_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    status: int, body: bytes, length: int, why: str,
) -> None:  # fmt: skip
    file = tmp_path / "text.txt"
    file.write_text("It rang.")

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            self.send_header("Content-Length", str(length))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        found = said(monkeypatch, capsys, file, "--address", address)
        thread.join()
    assert found == (1, f"{why}\n".replace("{address}", address))


def test_an_address_without_a_scheme(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(SystemExit):
        said(monkeypatch, capsys, tmp_path / "x", "--address", "localhost:8081")
    assert capsys.readouterr().err.endswith("localhost:8081: an address begins with http://\n")
