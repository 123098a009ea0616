// Open Inference Protocol v2: JSON requests to tensors, tensors to JSON answers.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "json.hpp"
#include "models.hpp"
#include "result.hpp"
#include "tensor.hpp"

namespace inferd {

struct InferRequest {
    std::string id;                    // empty if there is none
    std::vector<Tensor> inputs;        // in the order of the description
    std::vector<std::string> outputs;  // names asked for; empty means all
};

// Parses the body of an infer request; the error's message is for the client.
Result<InferRequest> parse_infer(std::string_view body, const Description& description);

// The answer to an infer request.
Json infer_answer(const Description& description, const InferRequest& request,
                  const std::vector<Tensor>& outputs);

Json server_metadata();
Json model_metadata(const Model& model);

// Most bytes that a sensible infer request for this model has.
std::size_t request_limit(const Description& description);

}  // namespace inferd
