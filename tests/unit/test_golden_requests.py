"""Requests for golden samples and their answers, without a server."""

import json

import numpy as np

from imagebuilder.testing.golden import decode_answer, infer_request


def output(name: str, datatype: str, **more: object) -> dict[str, object]:
    return {"name": name, "datatype": datatype, "shape": [1, 2], **more}


def test_answers_are_asked_for_in_bytes() -> None:
    body = json.loads(infer_request({"x": np.array([[1, 2]], np.int8)}))
    assert body["inputs"] == [output("x", "INT8", data=[1, 2])]
    assert body["parameters"] == {"binary_data_output": True}


def test_values_behind_the_json_and_in_it() -> None:
    """Also those that JSON cannot have, and whole numbers that a double has not."""
    floats = np.array([[-np.inf, np.nan]], np.float32)
    wide = np.array([[2**63 - 1, -1]], np.int64)
    outputs = [
        output("é", "FP32", parameters={"binary_data_size": 8}),
        output("in", "INT8", data=[3, 4]),
        output("wide", "INT64", parameters={"binary_data_size": 16}),
    ]
    head = json.dumps({"model_name": "m", "outputs": outputs}, ensure_ascii=False).encode()
    found = decode_answer(head + floats.tobytes() + wide.tobytes())
    np.testing.assert_array_equal(found["é"], floats)
    np.testing.assert_array_equal(found["wide"], wide)
    assert found["in"].tolist() == [[3, 4]]
    assert [array.dtype.name for array in found.values()] == ["float32", "int8", "int64"]
