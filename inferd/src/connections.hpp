// The open connections: how many there may be, what they may hold, how long one may take, and how
// they end.
#pragma once

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/listener.h>

#include <chrono>
#include <cstddef>
#include <functional>
#include <map>

#include "http.hpp"
#include "ticker.hpp"

namespace inferd {

struct ConnectionLimits {
    std::size_t most;
    std::size_t bytes = 16 << 20;              // of all unfinished requests together
    std::chrono::milliseconds request{30000};  // from one request to the end of the next
    std::chrono::milliseconds linger{2000};    // for what is still sent to a closed connection
    std::chrono::milliseconds silence{10000};  // without a byte in either direction
    std::size_t pace = 32 << 10;  // bytes of an answer that buy a second more for `request`
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

    // Most bytes of all unfinished requests together; whoever sent most of them is refused.
    void hold_at_most(std::size_t bytes) { limits_.bytes = bytes; }

    // Most bytes of the body of one request, on open connections too; the library refuses more.
    void bodies_at_most(std::size_t bytes);

    std::size_t size() const { return open_.size(); }
    // Bytes of answers that have still to leave.
    std::size_t unsent() const;

    // Sends an answer of ours; any other is the library's own.
    template <typename Function>
    void answering(const Function& send) {
        ours_ = true;
        send();
        ours_ = false;
    }
    // Called with the status of each answer that nobody but the library, or this, gave.
    void each_refusal(std::function<void(int status)> function) {
        each_refusal_ = std::move(function);
    }

    // Called at each beat as long as there are connections.
    void each_beat(std::function<void()> function) { each_beat_ = std::move(function); }

  private:
    using Clock = std::chrono::steady_clock;
    struct Open {
        Connections* owner;
        Clock::time_point since;   // when its last request ended
        Clock::time_point active;  // the last beat that saw bytes move
        std::size_t held = 0;      // bytes of the request that is not finished
        std::size_t unsent = 0;    // at the last beat
        bool moved = false;        // bytes have come since the last beat
        bool served = false;       // the server owes it an answer
        bool released = false;     // the library has closed it
    };

    static bufferevent* create(event_base* base, void* context);
    static void on_beat(void* context);
    static void on_input(evbuffer*, const evbuffer_cb_info* change, void* context);
    static void on_output(evbuffer* output, const evbuffer_cb_info* change, void* context);
    static void on_overflow(evutil_socket_t, short, void* context);
    void sweep();
    void limit();
    void finish(Open& state);
    void forget(bufferevent* connection, Open& state);
    void refuse_largest();
    // Whether the connection is done and can go.
    bool finished(bufferevent* connection, Open& state, Clock::time_point now) const;
    bool silent(bufferevent* connection, Open& state, Clock::time_point now) const;

    event_base* base_;
    evhttp* http_;
    ConnectionLimits limits_;
    evconnlistener* listener_ = nullptr;
    std::map<bufferevent*, Open> open_;
    std::size_t held_ = 0;
    bool ours_ = false;  // what is sent now
    std::function<void()> each_beat_;
    std::function<void(int status)> each_refusal_;
    Ticker ticker_;
    Event overflow_;
};

}  // namespace inferd
