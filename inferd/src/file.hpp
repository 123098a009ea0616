// Regular files, and no others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "result.hpp"

namespace inferd {

// Whether a path may be a symbolic link: what is named to the server may, as /etc and mounted
// configuration are often made of them; a file of a bundle may not.
enum class Links { kRefused, kFollowed };

// A regular file mapped into memory, read only; unmapped when it goes.
class MappedFile {
  public:
    static Result<MappedFile> open(const std::string& path, Links links = Links::kRefused);
    static MappedFile nothing() { return {nullptr, 0}; }

    MappedFile(MappedFile&& other) noexcept;
    MappedFile& operator=(MappedFile&& other) noexcept;
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;
    ~MappedFile();

    std::span<const std::byte> bytes() const { return {data_, size_}; }

  private:
    MappedFile(const std::byte* data, std::size_t size) : data_(data), size_(size) {}

    const std::byte* data_ = nullptr;
    std::size_t size_ = 0;
};

// Size in bytes, or an error if it is not a regular file; no link is followed.
Result<std::uint64_t> regular_file_size(const std::string& path);

// Names of a folder's entries, sorted.
Result<std::vector<std::string>> list_folder(const std::string& path);

// SHA-256 of a regular file, in hex; no link is followed.
Result<std::string> file_sha256(const std::string& path);

}  // namespace inferd
