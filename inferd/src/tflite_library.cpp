#include "tflite_library.hpp"

#include <dlfcn.h>

#include <utility>

namespace inferd {
namespace {

template <typename Function>
bool find(void* library, const char* name, Function& function) {
    function = reinterpret_cast<Function>(::dlsym(library, name));
    return function != nullptr;
}

// The first function that the library lacks, or null.
const char* missing_function(void* library, tflite::Functions& api) {
#define FIND(name) \
    if (!find(library, "TfLite" #name, api.name)) return "TfLite" #name
    FIND(Version);
    FIND(ModelCreateWithErrorReporter);
    FIND(ModelDelete);
    FIND(InterpreterOptionsCreate);
    FIND(InterpreterOptionsDelete);
    FIND(InterpreterOptionsSetNumThreads);
    FIND(InterpreterOptionsAddDelegate);
    FIND(InterpreterOptionsSetErrorReporter);
    FIND(InterpreterCreate);
    FIND(InterpreterDelete);
    FIND(InterpreterGetInputTensorCount);
    FIND(InterpreterGetInputTensor);
    FIND(InterpreterResizeInputTensor);
    FIND(InterpreterAllocateTensors);
    FIND(InterpreterInvoke);
    FIND(InterpreterGetOutputTensorCount);
    FIND(InterpreterGetOutputTensor);
    FIND(InterpreterModifyGraphWithDelegate);
    FIND(TensorType);
    FIND(TensorNumDims);
    FIND(TensorDim);
    FIND(TensorByteSize);
    FIND(TensorData);
    FIND(TensorName);
#undef FIND
    return nullptr;
}

// What a library may lack; without one of a group its first function is null.
void find_optional(void* library, tflite::Functions& api) {
    const auto census =
        find(library, "TfLiteOpaqueDelegateDelete", api.OpaqueDelegateDelete) &&
        find(library, "TfLiteOpaqueContextGetExecutionPlan", api.OpaqueContextGetExecutionPlan) &&
        find(library, "TfLiteOpaqueContextGetNodeAndRegistration",
             api.OpaqueContextGetNodeAndRegistration) &&
        find(library, "TfLiteOperatorGetBuiltInCode", api.OperatorGetBuiltInCode) &&
        find(library, "TfLiteOperatorGetCustomName", api.OperatorGetCustomName) &&
        find(library, "TfLiteOpaqueDelegateCreate", api.OpaqueDelegateCreate);
    if (!census) api.OpaqueDelegateCreate = nullptr;
    const auto xnnpack =
        find(library, "TfLiteXNNPackDelegateOptionsDefault", api.XNNPackDelegateOptionsDefault) &&
        find(library, "TfLiteXNNPackDelegateDelete", api.XNNPackDelegateDelete) &&
        find(library, "TfLiteXNNPackDelegateCreate", api.XNNPackDelegateCreate);
    if (!xnnpack) api.XNNPackDelegateCreate = nullptr;
}

}  // namespace

void LibraryCloser::operator()(void* library) const { ::dlclose(library); }

Result<Library> open_library(const std::string& path) {
    // They keep memory and thread-local objects of their own until the process ends.
    Library library(::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
    if (!library) return Error{"", std::string("cannot load ") + ::dlerror()};
    return library;
}

Status find_functions(void* library, const std::string& path, tflite::Functions& api) {
    if (const char* name = missing_function(library, api)) {
        return Error{"", path + ": no TensorFlow Lite library with " + name};
    }
    find_optional(library, api);
    return std::nullopt;
}

Result<Delegate> load_delegate(const std::string& path) {
    auto library = open_library(path);
    if (!library) return library.error();
    tflite::DelegateFunctions own{};
    if (!find(library->get(), "tflite_plugin_create_delegate", own.create) ||
        !find(library->get(), "tflite_plugin_destroy_delegate", own.destroy)) {
        return Error{"", path + ": not an external delegate"};
    }
    TfliteOwned<TfLiteDelegate> delegate(own.create(nullptr, nullptr, 0, nullptr),
                                         TfliteReleaser<TfLiteDelegate>{own.destroy});
    if (!delegate) return Error{"", path + ": the delegate does not start"};
    return Delegate{std::move(*library), std::move(delegate)};
}

}  // namespace inferd
