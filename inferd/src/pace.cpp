#include "pace.hpp"

#include <algorithm>

namespace inferd {
namespace {

constexpr double kWeight = 0.125;  // of the newest

}  // namespace

void Pace::add(Seconds ran, std::size_t rows) {
    const double row = ran.count() / static_cast<double>(std::max<std::size_t>(1, rows));
    row_ = row_ < 0 ? row : row_ + kWeight * (row - row_);
    wary_ = ran > kSurprise ? kWary : std::max(0, wary_ - 1);
}

bool Pace::quick(std::size_t rows) const {
    return row_ >= 0 && wary_ == 0 && row_ * static_cast<double>(rows) <= kQuick.count();
}

}  // namespace inferd
