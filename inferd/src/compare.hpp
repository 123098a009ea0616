// How far outputs are from their golden ones.
#pragma once

#include <cstddef>

#include "tensor.hpp"

namespace inferd {

struct Tolerance {
    double rtol;
    double atol;
};

struct Difference {
    double max_abs = 0;
    double max_rel = 0;  // |got - want| / |want|, where want is not 0
    bool within = true;  // every element within tolerance
    bool top1 = true;    // the largest element of the last axis at the same place
};

// Compares two tensors of the same dtype and shape; floats by |got - want| <= atol + rtol * |want|,
// whole numbers by `atol` alone, all others exactly. Another dtype or shape is not within.
Difference compare(const Tensor& got, const Tensor& want, const Tolerance& tolerance);

}  // namespace inferd
