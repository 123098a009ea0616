// What is answered at which path; inference runs beside the event loop, unless it is quick.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "config.hpp"
#include "connections.hpp"
#include "http.hpp"
#include "metrics.hpp"
#include "models.hpp"
#include "ticker.hpp"
#include "worker.hpp"

namespace inferd {

class Service {
  public:
    Service(const Config& config, std::shared_ptr<Models> models, event_base* base,
            Connections& connections);

    void handle(evhttp_request* request);
    // From now on these; what runs, ends with the models it began with.
    void replace(std::shared_ptr<Models> models, const std::string& token);
    void reload_failed() { metrics_.reload(false); }
    // Takes no more requests; the loop ends when all are answered.
    void stop();
    bool idle() const { return waiting_.empty(); }
    // Whether the loop has ended since a model does not end.
    bool stuck() const { return stuck_; }

  private:
    bool authorized(evhttp_request* request) const;
    void handle_model(evhttp_request* request, std::string_view rest);
    void get(evhttp_request* request, const Json& body);
    // Whether the method is one that reads; else the request is answered.
    bool reads(evhttp_request* request);
    // Counts and sends an answer; the request may be gone then.
    void reply(evhttp_request* request, int status, const std::string& body,
               const char* type = "application/json");
    void fail(evhttp_request* request, int status, const std::string& message);
    void send_metrics(evhttp_request* request);
    void infer(evhttp_request* request, Model& model);
    void submit(evhttp_request* request, Model& model, InferRequest parsed);
    // Counts and answers an infer request that the model does not see.
    void refuse(evhttp_request* request, const Model& model, int status,
                const std::string& message);
    // Whether the answer can be kept until its client takes it; else it is another now.
    void fit(evhttp_request* request, Answer& answer);
    void answer_all();
    void record(const Answer& answer);
    void answer(evhttp_request* request, const Answer& answer);
    // Ends the loop once it stops and all answers have left.
    void end_if_idle();
    // Ends runs that take too long, and the loop if one cannot be ended.
    void watch();
    static void on_watch(void* self);
    static void on_wake(evutil_socket_t, short, void* context);
    static void on_close(evhttp_connection* connection, void* context);

    const Config config_;
    std::string token_;
    std::shared_ptr<Models> models_;
    event_base* base_;
    Connections& connections_;
    Metrics metrics_;
    EventFd wake_;
    Event woken_;
    std::map<std::uint64_t, evhttp_request*> waiting_;
    std::uint64_t last_id_ = 0;
    bool stopping_ = false;
    bool ended_ = false;
    bool stuck_ = false;
    Ticker watch_;
    Worker worker_;  // ends first: it wakes the others
};

// Most bytes that a request for any of the models may have.
std::size_t body_limit(const Models& models);

}  // namespace inferd
