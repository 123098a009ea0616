// How long a model takes, as it was measured last.
#pragma once

#include <chrono>
#include <cstddef>

namespace inferd {

class Pace {
  public:
    using Seconds = std::chrono::duration<double>;

    // What may run on the event loop's thread, which it holds up meanwhile. Handing a request to
    // another thread and its answer back costs about a tenth of this.
    static constexpr Seconds kQuick{250e-6};
    // A run that takes so long tells that a row's time depends on what is in it: no measured one
    // says then what the next will take. Nor that long again, for so many runs.
    static constexpr Seconds kSurprise = 100 * kQuick;
    static constexpr int kWary = 1000;

    void add(Seconds ran, std::size_t rows);
    // Whether so many rows will probably take no longer than kQuick; not before the first run.
    bool quick(std::size_t rows) const;

  private:
    double row_ = -1;  // seconds, a moving average; none yet
    int wary_ = 0;     // runs until it may be quick again
};

}  // namespace inferd
