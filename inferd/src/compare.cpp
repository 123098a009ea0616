#include "compare.hpp"

#include <algorithm>
#include <cmath>

namespace inferd {
namespace {

bool is_float(DType type) {
    return type == DType::kF16 || type == DType::kF32 || type == DType::kF64;
}

// Whole numbers may be scores in steps or names of classes, whose size is no measure of an error.
Tolerance for_type(DType type, const Tolerance& tolerance) {
    if (is_float(type)) return tolerance;
    return {0, type == DType::kBool ? 0 : tolerance.atol};
}

void compare_element(double got, double want, const Tolerance& tolerance, Difference& result) {
    if (std::isnan(got) && std::isnan(want)) return;
    if (got == want) return;
    const double off = std::fabs(got - want);
    if (!std::isfinite(off)) {
        result.within = false;
        return;
    }
    result.max_abs = std::max(result.max_abs, off);
    if (want != 0) result.max_rel = std::max(result.max_rel, off / std::fabs(want));
    if (off > tolerance.atol + tolerance.rtol * std::fabs(want)) result.within = false;
}

std::size_t largest(const Tensor& tensor, std::size_t begin, std::size_t count) {
    std::size_t best = 0;
    for (std::size_t i = 1; i < count; ++i) {
        if (element(tensor.dtype, tensor.data.data(), begin + i) >
            element(tensor.dtype, tensor.data.data(), begin + best)) {
            best = i;
        }
    }
    return best;
}

}  // namespace

Difference compare(const Tensor& got, const Tensor& want, const Tolerance& tolerance) {
    Difference result;
    if (got.dtype != want.dtype || got.shape != want.shape || got.data.size() != want.data.size()) {
        result.within = result.top1 = false;
        return result;
    }
    if (want.dtype == DType::kText) {
        result.within = result.top1 = got.data == want.data;
        return result;
    }
    const std::size_t count = want.data.size() / info(want.dtype).size;
    const auto allowed = for_type(want.dtype, tolerance);
    // As doubles, two large 64-bit integers may look equal.
    const bool exact = !is_float(want.dtype) && allowed.atol < 1;
    if (exact && got.data != want.data) result.within = false;
    for (std::size_t i = 0; i < count; ++i) {
        compare_element(element(got.dtype, got.data.data(), i),
                        element(want.dtype, want.data.data(), i), allowed, result);
    }
    const auto last = want.shape.empty() ? 1 : static_cast<std::size_t>(want.shape.back());
    for (std::size_t begin = 0; last > 0 && begin + last <= count; begin += last) {
        if (largest(got, begin, last) != largest(want, begin, last)) result.top1 = false;
    }
    return result;
}

}  // namespace inferd
