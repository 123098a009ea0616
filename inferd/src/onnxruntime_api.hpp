// The functions of ONNX Runtime's library: their objects with owners, their errors as values.
#pragma once

#include <onnxruntime_c_api.h>

#include <memory>
#include <optional>

#include "result.hpp"

namespace inferd {

// Frees an object of the API by the function that belongs to it.
template <typename T>
struct Releaser {
    void(ORT_API_CALL* release)(T*) = nullptr;
    void operator()(T* object) const { release(object); }
};
template <typename T>
using Owned = std::unique_ptr<T, Releaser<T>>;

class OrtFunctions {
  public:
    explicit OrtFunctions(const OrtApi* ort) : ort_(ort) {}
    const OrtApi* operator->() const { return ort_; }

    // Takes over a status; nothing if it is good.
    Status check(OrtStatus* status) const {
        if (status == nullptr) return std::nullopt;
        Error error{"", ort_->GetErrorMessage(status)};
        ort_->ReleaseStatus(status);
        return error;
    }

  private:
    const OrtApi* ort_;
};

}  // namespace inferd
