"""Summarize a text file with the language model of a device.

python summarize.py FILE --address http://127.0.0.1:8081 --key KEY
"""

import argparse
import json
import sys
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from pathlib import Path

# It comes first and never changes, so that the device computes it only once (prompt caching).
INSTRUCTION = "Summarize the text in one short sentence. Do not add anything that is not in it."


def main() -> int:
    options = _options()
    try:
        for piece in summarize(options.file.read_text("utf-8"), options.address, options.key):
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
    return parser.parse_args()


def summarize(text: str, address: str, key: str) -> Iterator[str]:
    """The summary, piece by piece as the device makes it; `urllib.error.HTTPError` if refused."""
    body = {
        "messages": [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": text},
        ],
        "max_tokens": 48,
        "temperature": 0.2,
        "seed": 1,
        "stream": True,
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
