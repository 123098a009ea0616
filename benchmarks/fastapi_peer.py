"""The peer of inferd: FastAPI, uvicorn and ONNX Runtime as tutorials put them together.

`uvicorn fastapi_peer:app`, with the model's file in MODEL.
"""

import os
from typing import Any

import numpy as np
import onnxruntime
from fastapi import FastAPI
from pydantic import BaseModel

app = FastAPI()
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(
    os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
)


class Tensor(BaseModel):
    """A tensor of the Open Inference Protocol."""

    name: str
    datatype: str
    shape: list[int]
    data: list[float]


class Request(BaseModel):
    """A request of it."""

    inputs: list[Tensor]


@app.post("/v2/models/{name}/infer")
def infer(name: str, request: Request) -> dict[str, Any]:
    """Run the model."""
    feed = {t.name: np.array(t.data, np.float32).reshape(t.shape) for t in request.inputs}
    names = [output.name for output in session.get_outputs()]
    outputs = [
        {"name": n, "datatype": "FP32", "shape": list(a.shape), "data": a.reshape(-1).tolist()}
        for n, a in zip(names, session.run(names, feed), strict=True)
    ]
    return {"model_name": name, "outputs": outputs}
