// Runs a fuzz target without libFuzzer: each file as it is, then with random changes.

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <random>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::string& text) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
}

std::string changed(std::string text, std::mt19937& random) {
    for (unsigned count = random() % 4 + 1; count > 0 && !text.empty(); --count) {
        const std::size_t at = random() % text.size();
        switch (random() % 4) {
            case 0:
                text[at] = static_cast<char>(random());
                break;
            case 1:
                text.erase(at, random() % 8 + 1);
                break;
            case 2:
                text.insert(at, text.substr(random() % text.size(), random() % 16));
                break;
            default:
                text.resize(at);
        }
    }
    return text;
}

}  // namespace

// usage: fuzz_TARGET RUNS FILE...
int main(int argc, char** argv) {
    const int runs = argc > 1 ? std::atoi(argv[1]) : 0;
    std::mt19937 random(1);
    for (int i = 2; i < argc; ++i) {
        std::ifstream stream(argv[i], std::ios::binary);
        const std::string text{std::istreambuf_iterator<char>(stream), {}};
        run(text);
        for (int n = 0; n < runs; ++n) run(changed(text, random));
    }
    std::printf("%d files, %d changes each\n", argc - 2, runs);
}
