#include "ticker.hpp"

#include <sys/timerfd.h>
#include <unistd.h>

#include <cstdint>

namespace inferd {

Ticker::Ticker(event_base* base, std::chrono::microseconds interval, Function function,
               void* context)
    : interval_(interval),
      function_(function),
      context_(context),
      fd_(::timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)),
      event_(event_new(base, fd_, EV_READ | EV_PERSIST, on_beat, this)) {
    event_add(event_.get(), nullptr);
}

Ticker::~Ticker() {
    event_.reset();
    ::close(fd_);
}

void Ticker::start() {
    if (going_) return;
    going_ = true;
    set(interval_);
}

void Ticker::stop() {
    if (!going_) return;
    going_ = false;
    set(std::chrono::microseconds(0));
}

void Ticker::set(std::chrono::microseconds interval) const {
    timespec time{};
    time.tv_sec = static_cast<decltype(time.tv_sec)>(interval.count() / 1000000);
    time.tv_nsec = static_cast<decltype(time.tv_nsec)>(interval.count() % 1000000 * 1000);
    const itimerspec beat{time, time};
    ::timerfd_settime(fd_, 0, &beat, nullptr);
}

void Ticker::on_beat(evutil_socket_t, short, void* self) {
    auto& ticker = *static_cast<Ticker*>(self);
    std::uint64_t beats = 0;
    // Stopped since the loop saw it.
    if (::read(ticker.fd_, &beats, sizeof beats) != sizeof beats) return;
    ticker.function_(ticker.context_);
}

}  // namespace inferd
