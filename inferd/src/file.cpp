#include "file.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "sha256.hpp"

namespace inferd {
namespace {

class Descriptor {
  public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(const Descriptor&) = delete;
    Descriptor& operator=(const Descriptor&) = delete;
    ~Descriptor() {
        if (fd_ >= 0) ::close(fd_);
    }
    int get() const { return fd_; }

  private:
    int fd_;
};

Error system_error(const std::string& path) { return {"", path + ": " + std::strerror(errno)}; }

Result<std::uint64_t> regular_size(int fd, const std::string& path) {
    struct stat status = {};
    if (fd < 0 || ::fstat(fd, &status) != 0) return system_error(path);
    if (!S_ISREG(status.st_mode)) return Error{"", path + ": not a regular file"};
    return static_cast<std::uint64_t>(status.st_size);
}

int open_file(const std::string& path, Links links = Links::kRefused) {
    const int follow = links == Links::kFollowed ? 0 : O_NOFOLLOW;
    return ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | follow);
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path, Links links) {
    const Descriptor fd(open_file(path, links));
    const auto size = regular_size(fd.get(), path);
    if (!size) return size.error();
    if (*size == 0) return MappedFile(nullptr, 0);
    if (*size > SIZE_MAX / 2) return Error{"", path + ": too large"};
    const auto length = static_cast<std::size_t>(*size);
    void* data = ::mmap(nullptr, length, PROT_READ, MAP_PRIVATE, fd.get(), 0);
    if (data == MAP_FAILED) return system_error(path);
    return MappedFile(static_cast<const std::byte*>(data), length);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

MappedFile::~MappedFile() {
    if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<std::uint64_t> regular_file_size(const std::string& path) {
    const Descriptor fd(open_file(path));
    return regular_size(fd.get(), path);
}

Result<std::vector<std::string>> list_folder(const std::string& path) {
    const std::unique_ptr<DIR, int (*)(DIR*)> folder(::opendir(path.c_str()), ::closedir);
    if (!folder) return system_error(path);
    std::vector<std::string> names;
    while (const dirent* entry = ::readdir(folder.get())) {
        const std::string name = entry->d_name;
        if (name != "." && name != "..") names.push_back(name);
    }
    std::sort(names.begin(), names.end());
    return names;
}

Result<std::string> file_sha256(const std::string& path) {
    const Descriptor fd(open_file(path));
    const auto size = regular_size(fd.get(), path);
    if (!size) return size.error();
    Sha256 hash;
    std::array<char, 65536> buffer;
    for (;;) {
        const ssize_t got = ::read(fd.get(), buffer.data(), buffer.size());
        if (got == 0) return hash.hex();
        if (got < 0 && errno != EINTR) return system_error(path);
        if (got > 0) hash.update(buffer.data(), static_cast<std::size_t>(got));
    }
}

}  // namespace inferd
