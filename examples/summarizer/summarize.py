"""Summarize a text file with the language model of a device.

python summarize.py FILE --address http://127.0.0.1:8081 --key KEY

A model this small makes things up in sentences of its own. So by default it only chooses: a grammar
lets it say nothing but sentences of the text. `--free` lets it write.
"""

import argparse
import http.client
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


class Refused(Exception):
    """The device says in its answer what went wrong."""


def main() -> int:
    options = _options()
    try:
        text = options.file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        print(f"cannot read {options.file}: {error}", file=sys.stderr)
        return 1
    if not sentences(text):
        print(f"there is nothing to summarize in {options.file}", file=sys.stderr)
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
        return failed(f"the device refused ({error.code}): {reason(error.read())}")
    except Refused as error:
        return failed(f"the device refused: {error}")
    except OSError as error:
        return failed(f"no answer from {options.address}: {error}")
    except (http.client.HTTPException, ValueError) as error:
        return failed(f"the answer from {options.address} broke off: {error}")
    print()
    return 0


def failed(why: str) -> int:
    """Say why there is no summary."""
    print(why, file=sys.stderr)
    return 1


def reason(body: bytes) -> str:
    """What llama-server says is wrong; another server's body as it is."""
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, TypeError, KeyError):
        return body.decode("utf-8", "replace")[:300] or "no reason given"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Summarize a text file on a device.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--address", default="http://127.0.0.1:8081")
    parser.add_argument("--key", default="")
    parser.add_argument("--sentences", type=int, default=2, help="how many are chosen")
    parser.add_argument("--free", action="store_true", help="let the model write a sentence")
    options = parser.parse_args()
    if not options.address.startswith(("http://", "https://")):
        parser.error(f"{options.address}: an address begins with http://")
    return options


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
        if kind != "data" or data.strip() == "[DONE]":
            continue
        found = json.loads(data)
        if "error" in found:
            raise Refused(reason(data.encode()))
        for choice in found["choices"]:
            yield choice["delta"].get("content") or ""


if __name__ == "__main__":
    sys.exit(main())
