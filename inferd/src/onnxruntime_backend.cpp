#include "onnxruntime_backend.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <map>
#include <utility>

#include "file.hpp"
#include "onnxruntime_api.hpp"

namespace inferd {
namespace {

// The oldest library in use; newer ones still offer this version of the API.
constexpr std::uint32_t kApiVersion = 21;

constexpr std::array<std::pair<DType, ONNXTensorElementDataType>, 13> kTypes = {{
    {DType::kBool, ONNX_TENSOR_ELEMENT_DATA_TYPE_BOOL},
    {DType::kU8, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8},
    {DType::kI8, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8},
    {DType::kU16, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT16},
    {DType::kI16, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT16},
    {DType::kU32, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT32},
    {DType::kI32, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32},
    {DType::kU64, ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT64},
    {DType::kI64, ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64},
    {DType::kF16, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16},
    {DType::kF32, ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT},
    {DType::kF64, ONNX_TENSOR_ELEMENT_DATA_TYPE_DOUBLE},
    {DType::kText, ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING},
}};

struct Closer {
    void operator()(void* library) const { ::dlclose(library); }
};

struct Parts {
    Owned<OrtSession> session;
    Owned<OrtMemoryInfo> memory;
    Owned<OrtRunOptions> options;
};

class OrtSession_ final : public Session {
  public:
    OrtSession_(OrtFunctions api, MappedFile model, Parts parts, const Description& description)
        : api_(api),
          model_(std::move(model)),
          session_(std::move(parts.session)),
          memory_(std::move(parts.memory)),
          options_(std::move(parts.options)),
          inputs_(description.inputs),
          outputs_(description.outputs),
          input_names_(names(inputs_)),
          output_names_(names(outputs_)) {}

    Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) override {
        std::vector<Owned<OrtValue>> values;
        std::vector<const OrtValue*> in;
        values.reserve(inputs.size());
        in.reserve(inputs.size());
        for (const auto& tensor : inputs) {
            auto value = tensor.dtype == DType::kText ? wrap_text(tensor) : wrap(tensor);
            if (!value) return value.error();
            in.push_back(value->get());
            values.push_back(std::move(*value));
        }
        std::vector<OrtValue*> out(outputs_.size(), nullptr);
        ended_ = false;
        if (auto problem = api_.check(api_->RunOptionsUnsetTerminate(options_.get())))
            return *problem;
        const auto problem = api_.check(
            api_->Run(session_.get(), options_.get(), input_names_.data(), in.data(), in.size(),
                      output_names_.data(), output_names_.size(), out.data()));
        std::vector<Owned<OrtValue>> owned;
        owned.reserve(out.size());
        for (auto* value : out) owned.emplace_back(value, Releaser<OrtValue>{api_->ReleaseValue});
        if (problem && ended_) return Error{"ended", "the model ran longer than it may"};
        if (problem) return *problem;
        std::vector<Tensor> results;
        results.reserve(owned.size());
        for (std::size_t i = 0; i < owned.size(); ++i) {
            auto tensor = unwrap(outputs_[i].name, owned[i].get());
            if (!tensor) return tensor.error();
            results.push_back(std::move(*tensor));
        }
        return results;
    }

    // Noticed between the nodes of the model, those in a loop too.
    void end() override {
        ended_ = true;
        // It cannot fail, but makes a status all the same.
        api_.check(api_->RunOptionsSetTerminate(options_.get()));
    }

    std::string provider() const override { return "CPUExecutionProvider"; }

    // Whether the model's own inputs and outputs have the names and types of bundle.json.
    Status check_signature() {
        if (auto problem = check_side(inputs_, api_->SessionGetInputCount,
                                      api_->SessionGetInputName, api_->SessionGetInputTypeInfo)) {
            return problem;
        }
        return check_side(outputs_, api_->SessionGetOutputCount, api_->SessionGetOutputName,
                          api_->SessionGetOutputTypeInfo);
    }

  private:
    template <typename Get>
    Result<std::string> take_name(Get get, std::size_t index) {
        OrtAllocator* allocator = nullptr;
        char* name = nullptr;
        if (auto problem = api_.check(api_->GetAllocatorWithDefaultOptions(&allocator))) {
            return *problem;
        }
        if (auto problem = api_.check(get(session_.get(), index, allocator, &name)))
            return *problem;
        std::string copy = name;
        allocator->Free(allocator, name);
        return copy;
    }

    // Leaves `type` undefined for what is no tensor.
    Status read_type(const OrtTypeInfo* info, ONNXTensorElementDataType& type) {
        const OrtTensorTypeAndShapeInfo* tensor = nullptr;
        if (auto problem = api_.check(api_->CastTypeInfoToTensorInfo(info, &tensor)))
            return problem;
        return tensor == nullptr ? std::nullopt
                                 : api_.check(api_->GetTensorElementType(tensor, &type));
    }

    template <typename Count, typename Name, typename Type>
    Status check_side(const std::vector<TensorSpec>& specs, Count count, Name get_name,
                      Type get_type) {
        std::size_t found = 0;
        if (auto problem = api_.check(count(session_.get(), &found))) return problem;
        std::map<std::string, ONNXTensorElementDataType> types;
        for (std::size_t i = 0; i < found; ++i) {
            const auto name = take_name(get_name, i);
            if (!name) return name.error();
            OrtTypeInfo* raw = nullptr;
            if (auto problem = api_.check(get_type(session_.get(), i, &raw))) return problem;
            const Owned<OrtTypeInfo> type(raw, Releaser<OrtTypeInfo>{api_->ReleaseTypeInfo});
            if (auto problem = read_type(type.get(), types[*name])) return problem;
        }
        for (const auto& spec : specs) {
            const auto type = types.find(spec.name);
            if (type == types.end()) return Error{"", "the model has no " + spec.name};
            if (type->second != kTypes[static_cast<std::size_t>(spec.dtype)].second) {
                return Error{"", spec.name + " has another dtype in the model"};
            }
        }
        if (types.size() != specs.size()) {
            return Error{"", "the model has inputs or outputs that bundle.json does not name"};
        }
        return std::nullopt;
    }

    static std::vector<const char*> names(const std::vector<TensorSpec>& specs) {
        std::vector<const char*> result;
        for (const auto& spec : specs) result.push_back(spec.name.c_str());
        return result;
    }

    Result<Owned<OrtValue>> wrap(const Tensor& tensor) {
        OrtValue* value = nullptr;
        // The API takes inputs without const and does not write to them.
        auto* data = const_cast<std::byte*>(tensor.data.data());
        const auto type = kTypes[static_cast<std::size_t>(tensor.dtype)].second;
        if (auto problem = api_.check(api_->CreateTensorWithDataAsOrtValue(
                memory_.get(), data, tensor.data.size(), tensor.shape.data(), tensor.shape.size(),
                type, &value))) {
            return *problem;
        }
        return Owned<OrtValue>(value, Releaser<OrtValue>{api_->ReleaseValue});
    }

    Result<Owned<OrtValue>> wrap_text(const Tensor& tensor) {
        OrtAllocator* allocator = nullptr;
        OrtValue* raw = nullptr;
        if (auto problem = api_.check(api_->GetAllocatorWithDefaultOptions(&allocator))) {
            return *problem;
        }
        if (auto problem = api_.check(
                api_->CreateTensorAsOrtValue(allocator, tensor.shape.data(), tensor.shape.size(),
                                             ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING, &raw))) {
            return *problem;
        }
        Owned<OrtValue> value(raw, Releaser<OrtValue>{api_->ReleaseValue});
        const auto elements = split_text(tensor.data);
        if (!elements) return Error{"", tensor.name + ": text is malformed"};
        for (std::size_t i = 0; i < elements->size(); ++i) {
            const auto& text = (*elements)[i];
            char* buffer = nullptr;
            if (auto problem = api_.check(
                    api_->GetResizedStringTensorElementBuffer(raw, i, text.size(), &buffer))) {
                return *problem;
            }
            std::copy(text.begin(), text.end(), buffer);
        }
        return value;
    }

    Status unwrap_text(const OrtValue* value, Tensor& tensor, std::size_t count) {
        std::size_t length = 0;
        if (auto problem = api_.check(api_->GetStringTensorDataLength(value, &length))) {
            return problem;
        }
        std::string all(length, '\0');
        std::vector<std::size_t> starts(count);
        if (auto problem = api_.check(
                api_->GetStringTensorContent(value, all.data(), length, starts.data(), count))) {
            return problem;
        }
        for (std::size_t i = 0; i < count; ++i) {
            const auto end = i + 1 < count ? starts[i + 1] : length;
            append_text(tensor.data, std::string_view(all).substr(starts[i], end - starts[i]));
        }
        return std::nullopt;
    }

    Result<Tensor> unwrap(const std::string& name, OrtValue* value) {
        OrtTensorTypeAndShapeInfo* raw = nullptr;
        if (auto problem = api_.check(api_->GetTensorTypeAndShape(value, &raw))) return *problem;
        const Owned<OrtTensorTypeAndShapeInfo> shape(
            raw, Releaser<OrtTensorTypeAndShapeInfo>{api_->ReleaseTensorTypeAndShapeInfo});
        ONNXTensorElementDataType type{};
        std::size_t rank = 0;
        void* data = nullptr;
        Tensor tensor;
        tensor.name = name;
        if (auto problem = api_.check(api_->GetTensorElementType(shape.get(), &type)))
            return *problem;
        if (auto problem = api_.check(api_->GetDimensionsCount(shape.get(), &rank)))
            return *problem;
        tensor.shape.resize(rank);
        if (auto problem =
                api_.check(api_->GetDimensions(shape.get(), tensor.shape.data(), rank))) {
            return *problem;
        }
        const auto count = element_count(tensor.shape);
        if (type == ONNX_TENSOR_ELEMENT_DATA_TYPE_STRING && count) {
            tensor.dtype = DType::kText;
            if (auto problem = unwrap_text(value, tensor, *count)) return *problem;
            return tensor;
        }
        if (auto problem = api_.check(api_->GetTensorMutableData(value, &data))) return *problem;
        for (const auto& [dtype, known] : kTypes) {
            if (known != type || !count) continue;
            tensor.dtype = dtype;
            tensor.data.resize(*count * info(dtype).size);
            if (!tensor.data.empty()) std::memcpy(tensor.data.data(), data, tensor.data.size());
            return tensor;
        }
        return Error{"", "output " + name + " has a type that is not supported"};
    }

    OrtFunctions api_;
    MappedFile model_;
    Owned<OrtSession> session_;
    Owned<OrtMemoryInfo> memory_;
    Owned<OrtRunOptions> options_;
    std::atomic<bool> ended_ = false;
    std::vector<TensorSpec> inputs_;
    std::vector<TensorSpec> outputs_;
    std::vector<const char*> input_names_;
    std::vector<const char*> output_names_;
};

class OrtBackend final : public Backend {
  public:
    OrtBackend(std::unique_ptr<void, Closer> library, const OrtApiBase* base, OrtFunctions api,
               Owned<OrtEnv> environment)
        : library_(std::move(library)),
          base_(base),
          api_(api),
          environment_(std::move(environment)) {}

    std::string name() const override { return "onnxruntime"; }
    std::string version() const override { return base_->GetVersionString(); }

    Result<std::unique_ptr<Session>> load(const Bundle& bundle,
                                          const SessionOptions& options) override {
        if (options.device != "cpu" && !options.allow_fallback) {
            return Error{"", bundle.description.name + ": no provider for the device " +
                                 options.device + ", and falling back to the CPU is denied"};
        }
        auto settings = make_options(options);
        if (!settings) return settings.error();
        auto model = MappedFile::open(bundle.folder + "/" + bundle.description.model_file);
        if (!model) return model.error();
        OrtSession* raw = nullptr;
        if (auto problem = api_.check(
                api_->CreateSessionFromArray(environment_.get(), model->bytes().data(),
                                             model->bytes().size(), settings->get(), &raw))) {
            return Error{"", bundle.description.name + ": " + problem->message};
        }
        Owned<OrtSession> session(raw, Releaser<OrtSession>{api_->ReleaseSession});
        OrtMemoryInfo* info = nullptr;
        if (auto problem = api_.check(
                api_->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &info))) {
            return *problem;
        }
        Owned<OrtMemoryInfo> memory(info, Releaser<OrtMemoryInfo>{api_->ReleaseMemoryInfo});
        OrtRunOptions* raw_run = nullptr;
        if (auto problem = api_.check(api_->CreateRunOptions(&raw_run))) return *problem;
        Owned<OrtRunOptions> run(raw_run, Releaser<OrtRunOptions>{api_->ReleaseRunOptions});
        // The session reads a model of its own format out of the mapped file as long as it lives;
        // of others it has made a copy.
        MappedFile kept =
            bundle.description.model_format == "ort" ? std::move(*model) : MappedFile::nothing();
        auto result = std::make_unique<OrtSession_>(
            api_, std::move(kept), Parts{std::move(session), std::move(memory), std::move(run)},
            bundle.description);
        if (auto problem = result->check_signature()) {
            return Error{"", bundle.description.name + ": " + problem->message};
        }
        return std::unique_ptr<Session>(std::move(result));
    }

  private:
    Result<Owned<OrtSessionOptions>> make_options(const SessionOptions& options) {
        OrtSessionOptions* raw = nullptr;
        if (auto problem = api_.check(api_->CreateSessionOptions(&raw))) return *problem;
        Owned<OrtSessionOptions> settings(raw,
                                          Releaser<OrtSessionOptions>{api_->ReleaseSessionOptions});
        // Spinning threads take the only core of a small device from everybody else.
        for (auto* status :
             {api_->SetIntraOpNumThreads(raw, options.threads), api_->SetInterOpNumThreads(raw, 1),
              api_->SetSessionExecutionMode(raw, ORT_SEQUENTIAL),
              api_->AddSessionConfigEntry(raw, "session.intra_op.allow_spinning", "0"),
              // On AVX2 without VNNI products of 8 bits would saturate at 16.
              api_->AddSessionConfigEntry(raw, "session.x64quantprecision", "1"),
              // Weights of the format ORT stay in the mapped file.
              api_->AddSessionConfigEntry(raw, "session.use_ort_model_bytes_directly", "1"),
              api_->AddSessionConfigEntry(raw, "session.use_ort_model_bytes_for_initializers", "1"),
              api_->DisableMemPattern(raw)}) {
            if (auto problem = api_.check(status)) return *problem;
        }
        return settings;
    }

    // Members go in reverse order: the library is closed last.
    std::unique_ptr<void, Closer> library_;
    const OrtApiBase* base_;
    OrtFunctions api_;
    Owned<OrtEnv> environment_;
};

}  // namespace

Result<std::unique_ptr<Backend>> load_onnxruntime(const std::string& path) {
    // It keeps memory and thread-local objects of its own until the process ends.
    constexpr int kFlags = RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE;
    std::unique_ptr<void, Closer> library(::dlopen(path.c_str(), kFlags));
    if (!library) return Error{"", std::string("cannot load ") + ::dlerror()};
    using GetBase = const OrtApiBase*(ORT_API_CALL*)();
    const auto get_base = reinterpret_cast<GetBase>(::dlsym(library.get(), "OrtGetApiBase"));
    const OrtApiBase* base = get_base != nullptr ? get_base() : nullptr;
    const OrtApi* ort = base != nullptr ? base->GetApi(kApiVersion) : nullptr;
    if (ort == nullptr) {
        return Error{
            "", path + ": not an ONNX Runtime with API version " + std::to_string(kApiVersion)};
    }
    const OrtFunctions api(ort);
    OrtEnv* raw = nullptr;
    if (auto problem = api.check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "inferd", &raw))) {
        return *problem;
    }
    Owned<OrtEnv> environment(raw, Releaser<OrtEnv>{api->ReleaseEnv});
    if (auto problem = api.check(api->DisableTelemetryEvents(raw))) return *problem;
    return std::unique_ptr<Backend>(
        std::make_unique<OrtBackend>(std::move(library), base, api, std::move(environment)));
}

}  // namespace inferd
