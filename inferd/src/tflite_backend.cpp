#include "tflite_backend.hpp"

#include <array>
#include <cstdio>
#include <cstring>
#include <utility>

#include "file.hpp"
#include "tflite_library.hpp"

namespace inferd {
namespace {

// TfLiteType by DType; text has an encoding of its own there and is not served.
constexpr std::array<std::pair<DType, int>, 12> kTypes = {{
    {DType::kBool, 6},
    {DType::kU8, 3},
    {DType::kI8, 9},
    {DType::kU16, 17},
    {DType::kI16, 7},
    {DType::kU32, 16},
    {DType::kI32, 2},
    {DType::kU64, 13},
    {DType::kI64, 4},
    {DType::kF16, 10},
    {DType::kF32, 1},
    {DType::kF64, 11},
}};

// What the library reports of an error, at most one line of it.
struct Words {
    std::string text;

    static void take(void* words, const char* format, __builtin_va_list arguments) {
        std::array<char, 256> line{};
        std::vsnprintf(line.data(), line.size(), format, arguments);
        static_cast<Words*>(words)->text = line.data();
    }

    Error error(const std::string& otherwise) const {
        return {"", text.empty() ? otherwise : otherwise + ": " + text};
    }
};

// Which nodes of a graph run where, found by a delegate that takes none.
struct Census {
    const tflite::Functions* api = nullptr;
    int nodes = 0;
    int delegated = 0;
    std::string takers;  // names of the delegates that took some

    static int count(TfLiteOpaqueContext* context, TfLiteDelegate*, void* data) {
        auto& census = *static_cast<Census*>(data);
        census.nodes = census.delegated = 0;
        census.takers.clear();
        TfLiteIntArray* plan = nullptr;
        if (census.api->OpaqueContextGetExecutionPlan(context, &plan) != tflite::kOk) return 1;
        for (int i = 0; i < plan->size; ++i) census.visit(context, plan->data[i]);
        return tflite::kOk;
    }

    void visit(TfLiteOpaqueContext* context, int index) {
        TfLiteOpaqueNode* node = nullptr;
        TfLiteOperator* kind = nullptr;
        if (api->OpaqueContextGetNodeAndRegistration(context, index, &node, &kind) != tflite::kOk) {
            return;
        }
        ++nodes;
        if (api->OperatorGetBuiltInCode(kind) != tflite::kDelegateNode) return;
        ++delegated;
        const char* name = api->OperatorGetCustomName(kind);
        const std::string taker = name != nullptr ? name : "delegate";
        if (takers.find(taker) == std::string::npos) takers += (takers.empty() ? "" : ",") + taker;
    }

    // Why a device that must run everything does not.
    Status denied(const std::string& device) const {
        if (delegated == nodes && nodes > 0) return std::nullopt;
        return Error{"", device + ": " + std::to_string(nodes - delegated) + " of " +
                             std::to_string(nodes) +
                             " nodes would run on the CPU, and falling back to it is denied"};
    }

    std::string provider() const {
        if (delegated == nodes && nodes > 0) return takers;
        return takers.empty() ? "CPU" : takers + ",CPU";
    }
};

class TfliteSession final : public Session {
  public:
    // Members go in reverse order: the interpreter before its delegate, that before the model.
    struct Parts {
        MappedFile file;
        std::unique_ptr<Words> words;
        TfliteOwned<TfLiteModel> model;
        Delegate delegate;
        TfliteOwned<TfLiteDelegate> xnnpack;
        std::unique_ptr<Census> census;
        TfliteOwned<TfLiteDelegate> counter;
        TfliteOwned<TfLiteInterpreter> interpreter;
    };

    TfliteSession(const tflite::Functions& api, Parts parts, const Description& description)
        : api_(api),
          parts_(std::move(parts)),
          inputs_(description.inputs),
          outputs_(description.outputs) {}

    // Whether the model's inputs and outputs have the names and types of bundle.json.
    Status check_signature() {
        auto* own = parts_.interpreter.get();
        const auto input = [&](int i) { return api_.InterpreterGetInputTensor(own, i); };
        const auto output = [&](int i) { return api_.InterpreterGetOutputTensor(own, i); };
        if (auto problem =
                match(inputs_, input_at_, api_.InterpreterGetInputTensorCount(own), input)) {
            return problem;
        }
        return match(outputs_, output_at_, api_.InterpreterGetOutputTensorCount(own), output);
    }

    Status allocate() {
        allocated_ = api_.InterpreterAllocateTensors(parts_.interpreter.get()) == tflite::kOk;
        if (allocated_) return std::nullopt;
        return parts_.words->error("the tensors cannot be allocated");
    }

    void name_provider() {
        if (parts_.counter) {
            api_.InterpreterModifyGraphWithDelegate(parts_.interpreter.get(), parts_.counter.get());
            provider_ = parts_.census->provider();
        } else {
            provider_ = parts_.delegate.delegate ? "delegate,CPU" : "CPU";
        }
    }

    Result<std::vector<Tensor>> run(const std::vector<Tensor>& inputs) override {
        parts_.words->text.clear();
        if (auto problem = fill(inputs)) return *problem;
        if (api_.InterpreterInvoke(parts_.interpreter.get()) != tflite::kOk) {
            return parts_.words->error("the model failed");
        }
        std::vector<Tensor> results;
        for (std::size_t i = 0; i < outputs_.size(); ++i) {
            auto tensor = take(i);
            if (!tensor) return tensor.error();
            results.push_back(std::move(*tensor));
        }
        return results;
    }

    std::string provider() const override { return provider_; }

  private:
    template <typename Get>
    Status match(const std::vector<TensorSpec>& specs, std::vector<int>& places, int count,
                 Get get) {
        for (const auto& spec : specs) {
            int at = 0;
            while (at < count && spec.name != api_.TensorName(get(at))) ++at;
            if (at == count) return Error{"", "the model has no " + spec.name};
            if (spec.dtype == DType::kText ||
                api_.TensorType(get(at)) != kTypes[static_cast<std::size_t>(spec.dtype)].second) {
                return Error{"", spec.name + " has another dtype in the model"};
            }
            places.push_back(at);
        }
        if (static_cast<std::size_t>(count) != specs.size()) {
            return Error{"", "the model has inputs or outputs that bundle.json does not name"};
        }
        return std::nullopt;
    }

    std::vector<std::int64_t> shape(const TfLiteTensor* tensor) const {
        std::vector<std::int64_t> result;
        for (int i = 0; i < api_.TensorNumDims(tensor); ++i) {
            result.push_back(api_.TensorDim(tensor, i));
        }
        return result;
    }

    Status fill(const std::vector<Tensor>& inputs) {
        auto* own = parts_.interpreter.get();
        // After a size that the model did not take, the tensors have none of their memory.
        bool resized = !allocated_;
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            if (shape(api_.InterpreterGetInputTensor(own, input_at_[i])) == inputs[i].shape)
                continue;
            const std::vector<int> sizes(inputs[i].shape.begin(), inputs[i].shape.end());
            if (api_.InterpreterResizeInputTensor(own, input_at_[i], sizes.data(),
                                                  static_cast<int>(sizes.size())) != tflite::kOk) {
                return parts_.words->error(inputs[i].name + " cannot have this shape");
            }
            resized = true;
        }
        if (resized) {
            if (auto problem = allocate()) return problem;
        }
        for (std::size_t i = 0; i < inputs.size(); ++i) {
            auto* tensor = api_.InterpreterGetInputTensor(own, input_at_[i]);
            const auto& data = inputs[i].data;
            if (api_.TensorByteSize(tensor) != data.size()) {
                return Error{"", inputs[i].name + " has another size in the model"};
            }
            if (!data.empty()) std::memcpy(api_.TensorData(tensor), data.data(), data.size());
        }
        return std::nullopt;
    }

    Result<Tensor> take(std::size_t i) {
        const auto* found =
            api_.InterpreterGetOutputTensor(parts_.interpreter.get(), output_at_[i]);
        Tensor tensor{outputs_[i].name, outputs_[i].dtype, shape(found), {}};
        const auto count = element_count(tensor.shape);
        const auto size = api_.TensorByteSize(found);
        if (!count || *count * info(tensor.dtype).size != size) {
            return Error{"", "output " + tensor.name + " has a size that is not its shape's"};
        }
        tensor.data.resize(size);
        if (size > 0) std::memcpy(tensor.data.data(), api_.TensorData(found), size);
        return tensor;
    }

    const tflite::Functions& api_;
    Parts parts_;
    std::vector<TensorSpec> inputs_;
    std::vector<TensorSpec> outputs_;
    std::vector<int> input_at_;  // positions in the model, by those in bundle.json
    std::vector<int> output_at_;
    std::string provider_;
    bool allocated_ = false;
};

class TfliteBackend final : public Backend {
  public:
    TfliteBackend(Library library, const tflite::Functions& api)
        : library_(std::move(library)), api_(api) {}

    std::string name() const override { return "tflite"; }
    std::string version() const override { return api_.Version(); }

    Result<std::unique_ptr<Session>> load(const Bundle& bundle,
                                          const SessionOptions& options) override {
        auto session = make(bundle, options);
        if (!session) return Error{"", bundle.description.name + ": " + session.error().message};
        return session;
    }

  private:
    // The delegate for the device; none for the CPU, or if its absence is allowed.
    Result<Delegate> delegate_for(const SessionOptions& options) const {
        if (options.device == "cpu") return Delegate{};
        if (!options.delegate.empty()) {
            auto found = load_delegate(options.delegate);
            if (found || !options.allow_fallback) return found;
        }
        if (options.allow_fallback) return Delegate{};
        return Error{"", "no delegate for the device " + options.device +
                             ", and falling back to the CPU is denied"};
    }

    Result<std::unique_ptr<Session>> make(const Bundle& bundle, const SessionOptions& options) {
        auto file = MappedFile::open(bundle.folder + "/" + bundle.description.model_file);
        if (!file) return file.error();
        auto delegate = delegate_for(options);
        if (!delegate) return delegate.error();
        auto words = std::make_unique<Words>();
        TfliteOwned<TfLiteModel> model(
            api_.ModelCreateWithErrorReporter(file->bytes().data(), file->bytes().size(),
                                              Words::take, words.get()),
            TfliteReleaser<TfLiteModel>{api_.ModelDelete});
        if (!model) return words->error("not a TensorFlow Lite model");
        const bool strict = options.device != "cpu" && !options.allow_fallback;
        auto census = std::make_unique<Census>();
        census->api = &api_;
        auto counter = make_counter(*census);
        if (strict && !counter) {
            return Error{"", options.device +
                                 ": this build of TensorFlow Lite does not tell what a delegate "
                                 "takes, and falling back to the CPU is denied"};
        }
        auto xnnpack = make_xnnpack(options);
        auto interpreter =
            interpret(model.get(), options, {delegate->delegate.get(), xnnpack.get()}, *words);
        if (!interpreter) return words->error("no interpreter for it");
        if (strict) {
            api_.InterpreterModifyGraphWithDelegate(interpreter.get(), counter.get());
            if (auto problem = census->denied(options.device)) return *problem;
        }
        auto session = std::make_unique<TfliteSession>(
            api_,
            TfliteSession::Parts{std::move(*file), std::move(words), std::move(model),
                                 std::move(*delegate), std::move(xnnpack), std::move(census),
                                 std::move(counter), std::move(interpreter)},
            bundle.description);
        if (auto problem = session->check_signature()) return *problem;
        if (auto problem = session->allocate()) return *problem;
        session->name_provider();
        return std::unique_ptr<Session>(std::move(session));
    }

    TfliteOwned<TfLiteDelegate> make_counter(Census& census) const {
        const TfliteReleaser<TfLiteDelegate> release{api_.OpaqueDelegateDelete};
        if (api_.OpaqueDelegateCreate == nullptr) return {nullptr, release};
        const TfLiteOpaqueDelegateBuilder builder{&census, Census::count, nullptr,
                                                  nullptr, nullptr,       tflite::kAnyTensors};
        return {api_.OpaqueDelegateCreate(&builder), release};
    }

    // The CPU's kernels, unless a device must run everything.
    TfliteOwned<TfLiteDelegate> make_xnnpack(const SessionOptions& options) const {
        const bool wanted = options.device == "cpu" || options.allow_fallback;
        const TfliteReleaser<TfLiteDelegate> release{api_.XNNPackDelegateDelete};
        if (!wanted || api_.XNNPackDelegateCreate == nullptr) return {nullptr, release};
        auto settings = api_.XNNPackDelegateOptionsDefault();
        settings.threads = options.threads;
        return {api_.XNNPackDelegateCreate(&settings), release};
    }

    TfliteOwned<TfLiteInterpreter> interpret(const TfLiteModel* model,
                                             const SessionOptions& options,
                                             std::array<TfLiteDelegate*, 2> delegates,
                                             Words& words) const {
        const TfliteOwned<TfLiteInterpreterOptions> settings(
            api_.InterpreterOptionsCreate(),
            TfliteReleaser<TfLiteInterpreterOptions>{api_.InterpreterOptionsDelete});
        api_.InterpreterOptionsSetNumThreads(settings.get(), options.threads);
        api_.InterpreterOptionsSetErrorReporter(settings.get(), Words::take, &words);
        for (auto* delegate : delegates) {
            if (delegate != nullptr) {
                api_.InterpreterOptionsAddDelegate(settings.get(), delegate);
            }
        }
        return {api_.InterpreterCreate(model, settings.get()),
                TfliteReleaser<TfLiteInterpreter>{api_.InterpreterDelete}};
    }

    Library library_;
    tflite::Functions api_;
};

}  // namespace

Result<std::unique_ptr<Backend>> load_tflite(const std::string& path) {
    auto library = open_library(path);
    if (!library) return library.error();
    tflite::Functions api{};
    if (auto problem = find_functions(library->get(), path, api)) return *problem;
    return std::unique_ptr<Backend>(std::make_unique<TfliteBackend>(std::move(*library), api));
}

}  // namespace inferd
