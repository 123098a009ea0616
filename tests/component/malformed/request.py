"""Requests whose own members are wrong."""

from __future__ import annotations

import random
from typing import Any

from malformed.kinds import ask, good, kind, text_of

NULL = type(None)
"""As good as no member, where one is optional."""


def not_an(rng: random.Random, *types: type) -> Any:
    """A value of another type."""
    values = (None, True, 7, -1, 1.5, "text", [1], {"a": 1})
    return rng.choice([v for v in values if type(v) not in types])


@kind(400)
def inputs_that_are_no_list(rng: random.Random) -> bytes:
    return ask({"inputs": not_an(rng, list)} if rng.random() < 0.8 else {})


@kind(400)
def an_id_that_is_no_text(rng: random.Random) -> bytes:
    return ask({**good(), "id": not_an(rng, str, NULL)})


@kind(400)
def parameters_that_are_no_object(rng: random.Random) -> bytes:
    return ask({**good(), "parameters": not_an(rng, dict, NULL)})


@kind(400)
def parameters_that_are_not_supported(rng: random.Random) -> bytes:
    key = rng.choice(("shared_memory_region", "classification", "sequence_id"))
    return ask({**good(), "parameters": {key: 1}})


@kind(400)
def a_timeout_that_is_none(rng: random.Random) -> bytes:
    value = rng.choice((-1, 1.5, "1", [], True, 2**32, 2**64))
    return ask({**good(), "parameters": {"timeout": value}})


@kind(400)
def a_flag_that_is_none(rng: random.Random) -> bytes:
    return ask({**good(), "parameters": {"binary_data_output": not_an(rng, bool, NULL)}})


@kind(400)
def outputs_that_are_no_list(rng: random.Random) -> bytes:
    return ask({**good(), "outputs": not_an(rng, list, NULL)})


@kind(400)
def an_output_that_the_model_lacks(rng: random.Random) -> bytes:
    name = rng.choice((text_of(rng), "", None, 1, ["bool-out"]))
    return ask({**good(), "outputs": [{"name": "bool-out"}, {"name": name}]})
