"""Summarize a text file with the language model of a device.

python summarize.py FILE --address http://127.0.0.1:8081 --key KEY

A model this small makes things up in sentences of its own. So by default it only chooses: a grammar
lets it say nothing but sentences of the text. `--free` lets it write.
"""

import argparse
import json
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

# It comes first and never changes, so that the device computes it only once (prompt caching).
INSTRUCTION = "You write short, factual summaries."
QUESTION = "Summarize the text above in one sentence."


def main() -> int:
    options = _options()
    try:
        text = options.file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {options.file}: {error}", file=sys.stderr)
        return 1
    found = (
        write(text, options.address, options.key)
        if options.free
        else choose(text, options.address, options.key, options.sentences)
    )
    try:
        for piece in found:
            print(piece, end="", flush=True)
    except urllib.error.HTTPError as error:
        message = json.load(error)["error"]["message"]
        print(f"the device refused ({error.code}): {message}", file=sys.stderr)
        return 1
    except OSError as error:
        print(f"no answer from {options.address}: {error}", file=sys.stderr)
        return 1
    print()
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Summarize a text file on a device.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--address", default="http://127.0.0.1:8081")
    parser.add_argument("--key", default="")
    parser.add_argument("--sentences", type=int, default=2, help="how many are chosen")
    parser.add_argument("--free", action="store_true", help="let the model write a sentence")
    return parser.parse_args()


def choose(text: str, address: str, key: str, count: int) -> Iterator[str]:
    """The sentences that the model chooses, each piece by piece; `HTTPError` if refused.

    The second question begins as the first did, so that its prompt is in the device's cache.
    """
    left = sentences(text)
    for number in range(min(count, len(left))):
        if number:
            yield "\n"
        said = ""
        for piece in _stream(text, address, key, {"grammar": grammar(left), "temperature": 0}):
            said += piece
            yield piece
        left = [sentence for sentence in left if sentence != said]


def write(text: str, address: str, key: str) -> Iterator[str]:
    """A summary in the model's own words, piece by piece; `HTTPError` if refused."""
    return _stream(text, address, key, {"max_tokens": 48, "temperature": 0.2, "seed": 1})


def sentences(text: str) -> list[str]:
    """The different sentences of a text, in its order; one that goes on in a new line is joined."""
    flat = " ".join(text.split())
    return list(dict.fromkeys(part for part in re.split(r"(?<=[.!?])\s+", flat) if part))


def grammar(choices: Sequence[str]) -> str:
    """A grammar (GBNF) that has just these texts."""
    return "root ::= " + " | ".join(json.dumps(text, ensure_ascii=False) for text in choices)


def _stream(text: str, address: str, key: str, how: dict[str, Any]) -> Iterator[str]:
    body = {
        "messages": [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": f"{text.strip()}\n\n{QUESTION}"},
        ],
        "stream": True,
        **how,
    }
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=600) as answer:
        yield from pieces(line.decode() for line in answer)


def pieces(lines: Iterable[str]) -> Iterator[str]:
    """The text of a stream of server-sent events; what is no data keeps a slow answer alive."""
    for line in lines:
        kind, _, data = line.partition(":")
        if kind == "data" and data.strip() != "[DONE]":
            for choice in json.loads(data)["choices"]:
                yield choice["delta"].get("content") or ""


if __name__ == "__main__":
    sys.exit(main())
