// The open connections: how many there may be, how long one may take, and how they end.
#pragma once

#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <chrono>
#include <cstddef>
#include <map>

#include "http.hpp"

namespace inferd {

struct ConnectionLimits {
    std::size_t most;
    std::chrono::milliseconds request{30000};  // from one request to the end of the next
    std::chrono::milliseconds linger{2000};    // for what is still sent to a closed connection
};

// Keeps a reference to every connection that the HTTP library has, and longer than the library:
// were a connection closed while its client still sends, the client would lose its answer.
class Connections {
  public:
    Connections(event_base* base, evhttp* http, ConnectionLimits limits);
    Connections(const Connections&) = delete;
    Connections& operator=(const Connections&) = delete;
    ~Connections();

    // Accepts again or no more from here, as the number of connections allows.
    void guard(evconnlistener* listener);
    // A whole request has come; from `begin` to `end` the server makes the client wait.
    void begin(evhttp_request* request);
    void end(evhttp_request* request);

    std::size_t size() const { return open_.size(); }

  private:
    using Clock = std::chrono::steady_clock;
    struct Open {
        Clock::time_point since;
        bool served = false;    // the server owes it an answer
        bool released = false;  // the library has closed it
    };

    static bufferevent* create(event_base* base, void* context);
    static void on_tick(evutil_socket_t, short, void* context);
    void sweep();
    void limit();
    // Whether the connection is done and can go.
    bool finished(bufferevent* connection, Open& state, Clock::time_point now) const;

    event_base* base_;
    ConnectionLimits limits_;
    evconnlistener* listener_ = nullptr;
    std::map<bufferevent*, Open> open_;
    Event tick_;
};

}  // namespace inferd
