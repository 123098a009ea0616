/* A library in the place of ONNX Runtime's: it loads no model, and says instead, as the reason,
 * what it was told of telemetry until then. */
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>

static char heard[64];
static char reason[128];
static int object; /* in the place of all that is created */
static const void* disabled;

/* Newer releases look here, so that a later word comes too late. */
__attribute__((constructor)) static void load(void) {
    const char* value = getenv("ORT_DISABLE_TELEMETRY");
    snprintf(heard, sizeof heard, "%s", value == NULL ? "unset" : value);
}

static OrtStatus* create_env(OrtLoggingLevel level, const char* id, OrtEnv** out) {
    (void)level, (void)id;
    *out = (OrtEnv*)&object;
    return NULL;
}

static OrtStatus* disable(const OrtEnv* env) {
    disabled = env;
    return NULL;
}

static OrtStatus* create_options(OrtSessionOptions** out) {
    *out = (OrtSessionOptions*)&object;
    return NULL;
}

static OrtStatus* set_number(OrtSessionOptions* options, int number) {
    (void)options, (void)number;
    return NULL;
}

static OrtStatus* set_mode(OrtSessionOptions* options, ExecutionMode mode) {
    (void)options, (void)mode;
    return NULL;
}

static OrtStatus* set_entry(OrtSessionOptions* options, const char* key, const char* value) {
    (void)options, (void)key, (void)value;
    return NULL;
}

static OrtStatus* set(OrtSessionOptions* options) {
    (void)options;
    return NULL;
}

static OrtStatus* create_session(const OrtEnv* env, const void* model, size_t size,
                                 const OrtSessionOptions* options, OrtSession** out) {
    (void)model, (void)size, (void)options, (void)out;
    snprintf(reason, sizeof reason, "telemetry: ORT_DISABLE_TELEMETRY=%s, events %s", heard,
             disabled == env ? "off" : "on");
    return (OrtStatus*)reason;
}

static const char* message(const OrtStatus* status) { return (const char*)status; }
static void release_status(OrtStatus* status) { (void)status; }
static void release_env(OrtEnv* env) { (void)env; }
static void release_options(OrtSessionOptions* options) { (void)options; }
static const char* version(void) { return "0"; }

static const OrtApi* get_api(uint32_t asked) {
    static const OrtApi api = {
        .GetErrorMessage = message,
        .CreateEnv = create_env,
        .DisableTelemetryEvents = disable,
        .CreateSessionFromArray = create_session,
        .CreateSessionOptions = create_options,
        .SetSessionExecutionMode = set_mode,
        .DisableMemPattern = set,
        .SetIntraOpNumThreads = set_number,
        .SetInterOpNumThreads = set_number,
        .AddSessionConfigEntry = set_entry,
        .ReleaseEnv = release_env,
        .ReleaseStatus = release_status,
        .ReleaseSessionOptions = release_options,
    };
    (void)asked;
    return &api;
}

const OrtApiBase* OrtGetApiBase(void) {
    static const OrtApiBase base = {get_api, version};
    return &base;
}
