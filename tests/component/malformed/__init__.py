"""Kinds of malformed requests: each makes any number of them and names the status it must get.

Written for the fixtures good-types, one input of every dtype, and good-text under the name `words`.
"""

from malformed import binary_data, json_text, over_http, request, tensors
from malformed.kinds import INFER, KINDS, NAMES, TOKEN, good

__all__ = ["INFER", "KINDS", "NAMES", "TOKEN", "binary_data", "good", "json_text", "over_http",
           "request", "tensors"]  # fmt: skip
