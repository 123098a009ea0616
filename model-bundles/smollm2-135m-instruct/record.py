"""Record golden.json with a llama-server that serves this model.

python record.py http://127.0.0.1:8081 model.gguf >golden.json
"""

import json
import sys
import urllib.request
from pathlib import Path
from typing import Any

from imagebuilder.models.seal import cpu_features
from imagebuilder.state import sha256_file
from imagebuilder.testing.text import golden_data

PROMPTS = (
    "The capital of France is",
    "Water boils at a temperature of",
    "def add(a, b):\n    return",
    "The opposite of hot is",
)
# Lewis Carroll, Alice's Adventures in Wonderland (1865), public domain.
TEXT = (
    "Alice was beginning to get very tired of sitting by her sister on the bank, and of having "
    "nothing to do: once or twice she had peeped into the book her sister was reading, but it had "
    "no pictures or conversations in it, 'and what is the use of a book,' thought Alice 'without "
    "pictures or conversations?'"
)
TOP, SKIP, TOKENS = 5, 8, 32


def main(address: str, model: Path) -> None:
    def ask(path: str, body: Any) -> Any:
        data = json.dumps(body).encode()
        request = urllib.request.Request(address + path, data, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    with urllib.request.urlopen(address + "/props", timeout=60) as answer:
        build = json.load(answer)["build_info"]
    found = {
        "model_sha256": sha256_file(model),
        "server": f"llama.cpp {build}",
        "cpu_features": cpu_features(),
        **golden_data(ask, PROMPTS, TEXT, (TOP, SKIP, TOKENS)),
    }
    print(json.dumps(found, indent=2, sort_keys=True))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
