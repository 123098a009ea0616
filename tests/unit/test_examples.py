"""What the examples' scripts do without a device."""

import importlib.util
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
