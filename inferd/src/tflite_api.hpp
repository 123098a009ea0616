// The part of TensorFlow Lite's C API that inferd calls (tensorflow/lite/c/c_api.h, c_api_opaque.h
// and the interface of external delegates, as of 2.17): the library comes without headers where
// Debian has no package of it, and its ABI is stable.
#pragma once

#include <cstddef>
#include <cstdint>

extern "C" {
struct TfLiteModel;
struct TfLiteInterpreterOptions;
struct TfLiteInterpreter;
struct TfLiteTensor;
struct TfLiteDelegate;
struct TfLiteOpaqueContext;
struct TfLiteOpaqueNode;
struct TfLiteOperator;

struct TfLiteIntArray {
    int size;
    int data[1];  // `size` of them
};

struct TfLiteOpaqueDelegateBuilder {
    void* data;
    int (*prepare)(TfLiteOpaqueContext*, TfLiteDelegate*, void*);
    int (*copy_from)(TfLiteOpaqueContext*, TfLiteDelegate*, void*, int, TfLiteTensor*);
    int (*copy_to)(TfLiteOpaqueContext*, TfLiteDelegate*, void*, int, TfLiteTensor*);
    void (*free_buffer)(TfLiteOpaqueContext*, TfLiteDelegate*, void*, int*);
    std::int64_t flags;
};
}

namespace inferd::tflite {

constexpr int kOk = 0;
// `builtin_code` of a node that stands for what a delegate took.
constexpr int kDelegateNode = 51;
// A delegate's flag: tensors of a size known at run time only do not disturb it.
constexpr std::int64_t kAnyTensors = 1;

// Larger than the structure of any release, which is returned through memory of the caller.
struct XnnpackOptions {
    std::int32_t threads;
    char rest[508];
};

using Reporter = void (*)(void*, const char*, __builtin_va_list);

struct Functions {
    const char* (*Version)();
    TfLiteModel* (*ModelCreateWithErrorReporter)(const void*, std::size_t, Reporter, void*);
    void (*ModelDelete)(TfLiteModel*);
    TfLiteInterpreterOptions* (*InterpreterOptionsCreate)();
    void (*InterpreterOptionsDelete)(TfLiteInterpreterOptions*);
    void (*InterpreterOptionsSetNumThreads)(TfLiteInterpreterOptions*, std::int32_t);
    void (*InterpreterOptionsAddDelegate)(TfLiteInterpreterOptions*, TfLiteDelegate*);
    void (*InterpreterOptionsSetErrorReporter)(TfLiteInterpreterOptions*, Reporter, void*);
    TfLiteInterpreter* (*InterpreterCreate)(const TfLiteModel*, const TfLiteInterpreterOptions*);
    void (*InterpreterDelete)(TfLiteInterpreter*);
    std::int32_t (*InterpreterGetInputTensorCount)(const TfLiteInterpreter*);
    TfLiteTensor* (*InterpreterGetInputTensor)(const TfLiteInterpreter*, std::int32_t);
    int (*InterpreterResizeInputTensor)(TfLiteInterpreter*, std::int32_t, const int*, std::int32_t);
    int (*InterpreterAllocateTensors)(TfLiteInterpreter*);
    int (*InterpreterInvoke)(TfLiteInterpreter*);
    std::int32_t (*InterpreterGetOutputTensorCount)(const TfLiteInterpreter*);
    const TfLiteTensor* (*InterpreterGetOutputTensor)(const TfLiteInterpreter*, std::int32_t);
    int (*InterpreterModifyGraphWithDelegate)(const TfLiteInterpreter*, TfLiteDelegate*);
    int (*TensorType)(const TfLiteTensor*);
    std::int32_t (*TensorNumDims)(const TfLiteTensor*);
    std::int32_t (*TensorDim)(const TfLiteTensor*, std::int32_t);
    std::size_t (*TensorByteSize)(const TfLiteTensor*);
    void* (*TensorData)(const TfLiteTensor*);
    const char* (*TensorName)(const TfLiteTensor*);
    // Delegates that look at the graph; null in some builds of the library.
    TfLiteDelegate* (*OpaqueDelegateCreate)(const TfLiteOpaqueDelegateBuilder*);
    void (*OpaqueDelegateDelete)(TfLiteDelegate*);
    int (*OpaqueContextGetExecutionPlan)(TfLiteOpaqueContext*, TfLiteIntArray**);
    int (*OpaqueContextGetNodeAndRegistration)(TfLiteOpaqueContext*, int, TfLiteOpaqueNode**,
                                               TfLiteOperator**);
    int (*OperatorGetBuiltInCode)(const TfLiteOperator*);
    const char* (*OperatorGetCustomName)(const TfLiteOperator*);
    // Kernels for the CPU, likewise.
    XnnpackOptions (*XNNPackDelegateOptionsDefault)();
    TfLiteDelegate* (*XNNPackDelegateCreate)(const XnnpackOptions*);
    void (*XNNPackDelegateDelete)(TfLiteDelegate*);
};

// An external delegate's own two functions.
struct DelegateFunctions {
    TfLiteDelegate* (*create)(const char* const* keys, const char* const* values, std::size_t count,
                              void (*report)(const char*));
    void (*destroy)(TfLiteDelegate*);
};

}  // namespace inferd::tflite
