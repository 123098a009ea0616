#include <doctest/doctest.h>

#include <cstdlib>
#include <tuple>

#include "config.hpp"
#include "fixtures.hpp"

namespace inferd {
namespace {

std::string problem(const std::string& text) {
    const auto config = parse_config(text);
    return config ? "" : config.error().message;
}

std::string with_model(const std::string& rest) {
    return "{\"format\": 1, \"models\": [{" + rest + "}]}";
}

TEST_CASE("the configuration of the device contract") {
    const auto config = parse_config(R"({
        "format": 1, "listen": "0.0.0.0:81", "metrics": true,
        "runtimes": {"onnxruntime": "/usr/lib/libonnxruntime.so"},
        "models": [{"bundle": "/models/digits", "device": "npu", "fallback": "allow",
                    "threads": 2, "memory_limit": 8388608}]})");
    REQUIRE(config);
    CHECK(config->address == "0.0.0.0");
    CHECK(config->port == 81);
    CHECK(config->runtimes.at("onnxruntime") == "/usr/lib/libonnxruntime.so");
    REQUIRE(config->models.size() == 1);
    const auto& model = config->models[0];
    CHECK(model.bundle == "/models/digits");
    CHECK(model.device == "npu");
    CHECK(model.allow_fallback);
    CHECK(model.threads == 2);
    CHECK(model.memory_limit == 8388608);
}

TEST_CASE("what is not said is the safe thing") {
    const auto config = parse_config(with_model("\"bundle\": \"/m\""));
    REQUIRE(config);
    CHECK(config->address == "127.0.0.1");
    CHECK(config->port == 8080);
    CHECK_FALSE(config->models[0].allow_fallback);
    CHECK(config->models[0].threads == 1);
    CHECK_FALSE(config->models[0].memory_limit);
}

TEST_CASE("configurations that are refused") {
    CHECK(problem("[]") == "configuration must be an object");
    CHECK(problem("{}") == "format must be 1");
    CHECK(problem("{\"format\": 2}") == "format must be 1");
    CHECK(problem("{\"format\": 1, \"lisen\": 1}") == "configuration: unknown key lisen");
    CHECK(problem("{\"format\": 1, \"state\": \"/data\"}") == "configuration: unknown key state");
    CHECK(problem("{\"format\": 1, \"listen\": 1}") == "listen must be text");
    CHECK(problem("{\"format\": 1, \"runtimes\": {\"a\": 1}}") == "runtimes.a must be a path");
    CHECK(problem("{\"format\": 1, \"models\": {}}") == "models must be a list");
    CHECK(problem(with_model("")) == "models: bundle must be a folder");
    CHECK(problem(with_model("\"bundle\": \"/m\", \"gpu\": 1")) == "models: unknown key gpu");
    CHECK(problem(with_model("\"bundle\": \"/m\", \"name\": 1")) == "models: name must be text");
    CHECK(problem(with_model("\"bundle\": \"/m\", \"device\": \"tpu\"")) ==
          "models: device must be cpu, gpu or npu");
    CHECK(problem(with_model("\"bundle\": \"/m\", \"fallback\": true")) ==
          "models: fallback must be deny or allow");
    for (const auto* threads : {"0", "257", "-1", "1.5", "\"2\"", "18446744073709551615"}) {
        CHECK(problem(with_model("\"bundle\": \"/m\", \"threads\": " + std::string(threads))) ==
              "models: threads must be 1 to 256");
    }
    CHECK(problem(with_model("\"bundle\": \"/m\", \"memory_limit\": -1")) ==
          "models: memory_limit must be a number of bytes, or null");
}

TEST_CASE("whose bundles are taken") {
    const std::string key(43, 'A');
    const auto config = parse_config("{\"format\": 1, \"verify\": {\"key\": \"" + key +
                                     "=\", \"minimum_version\": 3}}");
    REQUIRE(config);
    REQUIRE(config->trust);
    CHECK(config->trust->key == PublicKey{});
    CHECK(config->trust->minimum_version == 3);
    CHECK_FALSE(parse_config("{\"format\": 1, \"verify\": null}")->trust);
    const std::string wrong = "verify.key: no base64 of a public key of 32 bytes";
    for (const auto* text : {"{}", "{\"key\": 1}", "{\"key\": \"AAAA\"}"}) {
        CHECK(problem("{\"format\": 1, \"verify\": " + std::string(text) + "}") == wrong);
    }
    CHECK(problem("{\"format\": 1, \"verify\": {\"kay\": 1}}") == "verify: unknown key kay");
    CHECK(problem("{\"format\": 1, \"verify\": {\"minimum_version\": -1, \"key\": \"" + key +
                  "=\"}}") == "verify.minimum_version must be a whole number");
}

TEST_CASE("addresses that are refused") {
    for (const auto* text : {"", "8080", ":8080", "1.2.3:80", "localhost:80", "1.2.3.4:0",
                             "1.2.3.4:65536", "1.2.3.4:80x", "1.2.3.4:", "[::1]:80"}) {
        Config config;
        const auto problem = parse_listen(text, config);
        REQUIRE(problem);
        CHECK(problem->message ==
              "listen: " + std::string(text) + " is not ADDRESS:PORT with IPv4");
    }
}

TEST_CASE("the file and the token's may be symbolic links, to regular files") {
    const TemporaryFolder folder;
    const auto path = [&](const char* name) { return (folder.path() / name).string(); };
    std::ofstream(path("token")) << "a secret of this test";
    std::filesystem::create_symlink("token", path("linked token"));
    std::ofstream(path("inferd.json"))
        << "{\"format\": 1, \"token_file\": \"" << path("linked token") << "\"}";
    std::filesystem::create_symlink("inferd.json", path("once"));
    std::filesystem::create_symlink("once", path("twice"));
    const auto config = read_config(path("twice"));
    REQUIRE(config);
    CHECK(config->token == "a secret of this test");
    for (const auto& [name, target, why] :
         {std::tuple("folder", ".", "not a regular file"),
          std::tuple("nothing", "gone", "No such file or directory"),
          std::tuple("circle", "circle", "Too many levels of symbolic links"),
          std::tuple("device", "/dev/zero", "not a regular file")}) {
        std::filesystem::create_symlink(target, path(name));
        CHECK(read_config(path(name)).error().message == path(name) + ": " + why);
    }
}

TEST_CASE("the environment overrides the file") {
    const TemporaryFolder folder;
    const auto path = folder.path() / "inferd.json";
    std::ofstream(path) << "{\"format\": 1, \"listen\": \"1.2.3.4:5\"}";
    ::setenv("INFERD_LISTEN", "127.0.0.1:99", 1);
    const auto config = read_config(path.string());
    ::setenv("INFERD_LISTEN", "nowhere", 1);
    const auto wrong = read_config(path.string());
    ::unsetenv("INFERD_LISTEN");
    REQUIRE(config);
    CHECK(config->address == "127.0.0.1");
    CHECK(config->port == 99);
    CHECK_FALSE(wrong);
    CHECK(read_config(path.string())->port == 5);
    CHECK(read_config("/no/such.json").error().message ==
          "/no/such.json: No such file or directory");
}

TEST_CASE("what a reload does not change is named") {
    const auto read = [](const std::string& rest) {
        return *parse_config("{\"format\": 1, \"models\": []" + rest + "}");
    };
    const auto begun = read("");
    using Keys = std::vector<std::string>;
    CHECK(keys_for_restart(begun, begun).empty());
    CHECK(keys_for_restart(begun, read(R"(, "queue": 64, "runtimes": {"a": "/a"})")).empty());
    CHECK(keys_for_restart(begun, read(R"(, "listen": "127.0.0.1:81")")) == Keys{"listen"});
    CHECK(keys_for_restart(begun, read(R"(, "listen": "0.0.0.0:8080")")) == Keys{"listen"});
    CHECK(keys_for_restart(begun, read(R"(, "metrics": false, "queue": 1, "connections": 2,)"
                                       R"( "deadline_ms": 3, "run_limit_ms": 4)")) ==
          Keys{"metrics", "queue", "connections", "deadline_ms", "run_limit_ms"});
}

}  // namespace
}  // namespace inferd
