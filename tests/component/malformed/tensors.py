"""Tensors in JSON that do not fit the model."""

from __future__ import annotations

import random

from malformed.kinds import NAMES, ask, good, kind, one_changed, text_of
from malformed.request import not_an


@kind(400)
def an_input_is_missing(rng: random.Random) -> bytes:
    body = good()
    body["inputs"].remove(rng.choice(body["inputs"]))
    return ask(body)


@kind(400)
def an_input_twice(rng: random.Random) -> bytes:
    body = good()
    one, other = rng.sample(range(len(NAMES)), 2)
    body["inputs"][one] = body["inputs"][other]
    return ask(body)


@kind(400)
def an_input_that_is_no_object(rng: random.Random) -> bytes:
    body = good()
    body["inputs"][rng.randrange(len(NAMES))] = not_an(rng, dict)
    return ask(body)


@kind(400)
def an_input_without_name(rng: random.Random) -> bytes:
    return one_changed(rng, name=rng.choice((..., "", text_of(rng) + "!", 1, None, [])))


@kind(400)
def another_datatype(rng: random.Random) -> bytes:
    wrong = (..., "BYTES", "fp32", "float32", "FP33", text_of(rng), 1, None, [])
    return one_changed(rng, datatype=rng.choice(wrong))


@kind(400)
def no_shape(rng: random.Random) -> bytes:
    return one_changed(rng, shape=rng.choice((..., None, 3, "1,3", {"0": 1}, True)))


@kind(400)
def sizes_that_are_none(rng: random.Random) -> bytes:
    wrong = rng.choice((-1, 1.0, "1", None, [1], True, 2**31, 2**63, -(2**63), 2**64))
    return one_changed(rng, shape=rng.choice(([wrong, 3], [1, wrong])))


@kind(400)
def another_rank(rng: random.Random) -> bytes:
    return one_changed(rng, shape=rng.choice(([], [3], [1, 1, 3], [1, 3, 1], [1] * 8, [1] * 99)))


@kind(400)
def another_axis(rng: random.Random) -> bytes:
    return one_changed(rng, shape=[1, rng.choice((0, 1, 2, 4, 5, 2**31 - 1))])


@kind(400)
def another_batch_than_the_others(rng: random.Random) -> bytes:
    body, rows = good(), rng.randint(2, 9)
    chosen = rng.choice(body["inputs"])
    chosen.update(shape=[rows, 3], data=chosen["data"] * rows)
    return ask(body)


@kind(400)
def a_batch_that_is_only_claimed(rng: random.Random) -> bytes:
    return one_changed(rng, shape=[rng.randint(2, 2**31 - 1), 3])


@kind(400)
def no_data(rng: random.Random) -> bytes:
    return one_changed(rng, data=rng.choice((..., None, 1, "text", {}, True)))


@kind(400)
def too_few_values(rng: random.Random) -> bytes:
    body = good()
    chosen = rng.choice(body["inputs"])
    chosen["data"] = chosen["data"][: rng.randint(0, 2)]
    return ask(body)


@kind(400)
def too_many_values(rng: random.Random) -> bytes:
    body = good()
    chosen = rng.choice(body["inputs"])
    chosen["data"] = chosen["data"] * rng.randint(2, 50)
    return ask(body)


@kind(400)
def values_of_another_type(rng: random.Random) -> bytes:
    body = good()
    chosen = rng.choice(body["inputs"])
    chosen["data"][rng.randrange(3)] = rng.choice((None, "1", {}, {"a": 1}))
    return ask(body)


@kind(400)
def values_out_of_range(rng: random.Random) -> bytes:
    limits = {
        "bool": (2, -1), "uint8": (256, -1), "int8": (128, -129), "uint16": (65536, -1),
        "int16": (32768, -32769), "uint32": (2**32, -1), "int32": (2**31, -(2**31) - 1),
        "uint64": (2**64, -1), "int64": (2**63, -(2**63) - 1), "float16": (1e39, -1e39),
        "float32": (3.5e38, -1e300),
    }  # fmt: skip
    name = rng.choice(tuple(limits))
    body = good()
    body["inputs"][NAMES.index(name)]["data"][rng.randrange(3)] = rng.choice(limits[name])
    return ask(body)
