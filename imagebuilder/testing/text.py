"""What a language model's server says about next tokens, measured alike on host and target.

One greedy answer judges nothing: two tokens that nearly tie change places with the processor's
features. So the likeliest next tokens of fixed prompts are compared as sets, and a text's
perplexity within a tolerance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Ask = Callable[[str, Mapping[str, Any]], Any]
"""Posts JSON to a path of llama-server and gives its JSON answer."""

KEPT = 256
"""Next tokens that the server is asked for; one beyond them counts as the last of them."""


@dataclass(frozen=True, slots=True)
class TextGolden:
    """`prompts` maps a prompt to the host's likeliest next tokens, best first.

    `perplexity` is that of `text` from its token `skip` on, over `tokens` of them.
    """

    prompts: Mapping[str, tuple[int, ...]]
    text: str
    skip: int
    tokens: int
    perplexity: float


def read_golden(path: Path) -> TextGolden:
    """A golden file as `golden_data` made it."""
    data = json.loads(path.read_bytes())
    return TextGolden(
        {prompt: tuple(tokens) for prompt, tokens in data["prompts"].items()},
        data["text"],
        data["skip"],
        data["tokens"],
        data["perplexity"],
    )


def golden_data(ask: Ask, prompts: Sequence[str], text: str, measure: tuple[int, int, int]
                ) -> dict[str, Any]:  # fmt: skip
    """Measure a server; `measure` is (tokens of a prompt, skipped, measured of the text)."""
    top, skip, tokens = measure
    return {
        "prompts": {prompt: likeliest(ask, prompt, top) for prompt in prompts},
        "text": text,
        "skip": skip,
        "tokens": tokens,
        "perplexity": perplexity(ask, text, skip, tokens),
    }


def likeliest(ask: Ask, prompt: str, top: int) -> list[int]:
    """The tokens that most likely follow a prompt, best first."""
    return [token for token, _ in _next_tokens(ask, prompt, top)]


def agreement(ask: Ask, golden: TextGolden) -> float:
    """Share of the host's likeliest next tokens that the server gives too, over all prompts."""
    shares = [
        len(set(tokens) & set(likeliest(ask, prompt, len(tokens)))) / len(tokens)
        for prompt, tokens in golden.prompts.items()
    ]
    return sum(shares) / len(shares)


def perplexity(ask: Ask, text: str, skip: int, tokens: int) -> float:
    """exp of the mean negative log-likelihood of `tokens` tokens of a text, after `skip` of them.

    The server keeps the prompt's cache, so that each step computes one token.
    """
    ids = ask("/tokenize", {"content": text})["tokens"]
    if len(ids) < skip + tokens:
        raise ValueError(f"the text has {len(ids)} tokens, {skip + tokens} are needed")
    total = 0.0
    for at in range(skip, skip + tokens):
        found = _next_tokens(ask, ids[:at], KEPT)
        total -= dict(found).get(ids[at], found[-1][1])
    return math.exp(total / tokens)


def _next_tokens(ask: Ask, prompt: str | Sequence[int], count: int) -> list[tuple[int, float]]:
    """(token, natural logarithm of its probability), best first."""
    body = {"prompt": prompt, "n_predict": 1, "n_probs": count, "temperature": 0.0,
            "cache_prompt": True, "samplers": ["temperature"]}  # fmt: skip
    answer = ask("/completion", body)
    entries = answer["completion_probabilities"][0]["top_logprobs"]
    return [(entry["id"], entry["logprob"]) for entry in entries]
