// TensorFlow Lite's library and those of external delegates: loading them, finding their functions.
#pragma once

#include <memory>
#include <string>

#include "result.hpp"
#include "tflite_api.hpp"

namespace inferd {

struct LibraryCloser {
    void operator()(void* library) const;
};
using Library = std::unique_ptr<void, LibraryCloser>;

// Frees an object of the API by the function that belongs to it.
template <typename T>
struct TfliteReleaser {
    void (*release)(T*) = nullptr;
    void operator()(T* object) const { release(object); }
};
template <typename T>
using TfliteOwned = std::unique_ptr<T, TfliteReleaser<T>>;

// A delegate and the library that it is in, which goes last.
struct Delegate {
    Library library;
    TfliteOwned<TfLiteDelegate> delegate;
};

Result<Library> open_library(const std::string& path);

// Fills `api`; an error names the first function that the library lacks.
Status find_functions(void* library, const std::string& path, tflite::Functions& api);

Result<Delegate> load_delegate(const std::string& path);

}  // namespace inferd
