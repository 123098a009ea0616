// Open Inference Protocol v2: requests to tensors, tensors to answers, in JSON and with the
// extension for binary tensor data.
#pragma once

#include <chrono>
#include <cstddef>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "bundle.hpp"
#include "json.hpp"
#include "result.hpp"
#include "tensor.hpp"

namespace inferd {

struct InferRequest {
    std::string id;                       // empty if there is none
    std::vector<Tensor> inputs;           // in the order of the description
    std::map<std::string, bool> outputs;  // asked for, and whether as bytes; empty means all
    bool binary_outputs = false;          // where `outputs` is empty
    std::optional<std::chrono::microseconds> timeout = {};  // to wait for the model at most
};

struct InferAnswer {
    std::string body;
    // Bytes of JSON before those of the tensors; nothing when there is only JSON.
    std::optional<std::size_t> json_size = {};
};

// Parses the body of an infer request; the error's message is for the client.
// `json_size` is the client's word on how many bytes of the body are JSON.
Result<InferRequest> parse_infer(std::string_view body, const Description& description,
                                 std::optional<std::size_t> json_size = {});

// The answer to an infer request; the error, if JSON does not have a value of it, is for the
// client.
Result<InferAnswer> infer_answer(const Description& description, const InferRequest& request,
                                 const std::vector<Tensor>& outputs);

// Most bytes that a sensible infer request for this model has.
std::size_t request_limit(const Description& description);

}  // namespace inferd
