// Keeps the start-up of a static libsodium out of the program: what checks a signature needs of it
// only these two functions, which end the process or are never called, while their own objects
// refer to every cipher and generator of the library (225 KB). Were those objects linked for
// another reason, the linker would refuse these as doubled.

#include <cstddef>
#include <cstdlib>

extern "C" {
// Called where an argument is out of its range.
[[noreturn]] void sodium_misuse() { std::abort(); }
// Called by sodium_malloc() only, which nothing here calls.
[[noreturn]] void randombytes_buf(void*, std::size_t) { std::abort(); }
}
