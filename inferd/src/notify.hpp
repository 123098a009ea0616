// What systemd offers a service, by its documented protocols and without its library; all of it
// does nothing where systemd is not.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace inferd {

// Sends a state (`READY=1`, ...) to the socket in NOTIFY_SOCKET; see sd_notify(3).
void notify(const std::string& state);

// How often the watchdog wants to hear of this process; see sd_watchdog_enabled(3).
std::optional<std::chrono::microseconds> watchdog_interval();

// The listening socket that was passed to this process, see sd_listen_fds(3).
std::optional<int> passed_socket();

}  // namespace inferd
