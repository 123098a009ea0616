// Errors as values: what a unit gives back when it can fail.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <variant>

namespace inferd {

// `code` is for programs (a code of bundle-format.md, or empty), `message` for people.
struct Error {
    std::string code;
    std::string message;
};

template <typename T>
class Result {
  public:
    Result(T value) : state_(std::move(value)) {}
    Result(Error error) : state_(std::move(error)) {}

    explicit operator bool() const { return std::holds_alternative<T>(state_); }
    T& operator*() { return std::get<T>(state_); }
    const T& operator*() const { return std::get<T>(state_); }
    T* operator->() { return &std::get<T>(state_); }
    const T* operator->() const { return &std::get<T>(state_); }
    const Error& error() const { return std::get<Error>(state_); }

  private:
    std::variant<T, Error> state_;
};

// Nothing, or why not.
using Status = std::optional<Error>;

}  // namespace inferd
