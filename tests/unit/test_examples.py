"""What the examples' scripts do without a device."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "examples" / "summarizer" / "summarize.py"


def test_a_stream_with_lines_that_only_keep_it_alive() -> None:
    spec = importlib.util.spec_from_file_location("summarize", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    summarize = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(summarize)
    stream = [
        ":\n", "\n", 'data: {"choices": [{"delta": {"role": "assistant", "content": null}}]}\n',
        "\n", ": ping\n", 'data: {"choices": [{"delta": {"content": "It rang."}}]}\n',
        'data: {"choices": []}\n', "data: [DONE]\n",
    ]  # fmt: skip
    assert "".join(summarize.pieces(stream)) == "It rang."
