#include "config.hpp"

#include <doctest/doctest.h>

#include "file.hpp"

using inferd::parse_config;

TEST_CASE("a full configuration is read") {
    const auto config = parse_config(R"({"format": 1, "listen": "0.0.0.0:9000", "metrics": true,
        "state": "/data", "runtimes": {"onnxruntime": "/lib/x.so"},
        "models": [{"bundle": "/models/a", "device": "npu", "fallback": "allow", "threads": 2,
                    "memory_limit": 1000}]})");
    REQUIRE(config);
    CHECK(config->address == "0.0.0.0");
    CHECK(config->port == 9000);
    CHECK(config->runtimes.at("onnxruntime") == "/lib/x.so");
    CHECK(config->models[0].device == "npu");
    CHECK(config->models[0].allow_fallback);
    CHECK(config->models[0].threads == 2);
    CHECK(config->models[0].memory_limit == 1000);
}

TEST_CASE("what is wrong is said") {
    const std::pair<const char*, const char*> cases[] = {
        {"", "not JSON at byte 1"},
        {"[]", "configuration must be an object"},
        {"{}", "format must be 1"},
        {R"({"format": 1, "surprise": 1})", "configuration: unknown key surprise"},
        {R"({"format": 1, "listen": "here"})", "listen: here is not ADDRESS:PORT with IPv4"},
        {R"({"format": 1, "listen": "1.2.3.4:0"})",
         "listen: 1.2.3.4:0 is not ADDRESS:PORT with IPv4"},
        {R"({"format": 1, "models": [{"bundle": 1}]})", "models: bundle must be a folder"},
        {R"({"format": 1, "models": [{"bundle": "a", "threads": 0}]})",
         "models: threads must be 1 to 256"},
        {R"({"format": 1, "models": [{"bundle": "a", "device": "tpu"}]})",
         "models: device must be cpu, gpu or npu"},
        {R"({"format": 1, "models": [{"bundle": "a", "memory_limit": -1}]})",
         "models: memory_limit must be a number of bytes, or null"},
    };
    for (const auto& [text, message] : cases) {
        const auto config = parse_config(text);
        CAPTURE(text);
        REQUIRE(!config);
        CHECK(config.error().message == message);
    }
}

TEST_CASE("a missing file is an error, and so is a folder") {
    CHECK(!inferd::read_config("/nowhere/inferd.json"));
    CHECK(!inferd::MappedFile::open("/"));
}
