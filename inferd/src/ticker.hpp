// A beat of the kernel's, for what an event loop has to do now and then.
#pragma once

#include <chrono>

#include "http.hpp"

namespace inferd {

// Calls a function at a steady beat. A timer of the loop would be set anew whenever the loop waits,
// twice for each request, and setting the processor's timer is dear, in virtual machines above all.
class Ticker {
  public:
    using Function = void (*)(void* context);

    Ticker(event_base* base, std::chrono::microseconds interval, Function function, void* context);
    Ticker(const Ticker&) = delete;
    Ticker& operator=(const Ticker&) = delete;
    ~Ticker();

    // Nothing changes for one that goes already.
    void start();
    void stop();

  private:
    static void on_beat(evutil_socket_t, short, void* self);
    void set(std::chrono::microseconds interval) const;

    const std::chrono::microseconds interval_;
    const Function function_;
    void* const context_;
    const int fd_;
    bool going_ = false;
    Event event_;
};

}  // namespace inferd
