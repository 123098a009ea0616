// The peer of inferd: a model run in a loop by ONNX Runtime's C API, and nothing else.
//
//     bare LIBRARY MODEL INPUT OUTPUT ROW RUNS
//
// INPUT and OUTPUT are the names of the only input, one row of ROW floats, and of the only output.
// Prints "session" once the session exists, then the median of RUNS runs in microseconds and the
// resident memory in KiB. The options are those of inferd.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <onnxruntime_c_api.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const OrtApi *api;

static void check(OrtStatus *status) {
    if (status == NULL) return;
    fprintf(stderr, "%s\n", api->GetErrorMessage(status));
    exit(1);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static int by_size(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static OrtSession *load(const char *library, const char *model) {
    setenv("ORT_DISABLE_TELEMETRY", "1", 1);
    void *handle = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (handle == NULL) exit(1);
    const OrtApiBase *(*base)(void);
    *(void **)&base = dlsym(handle, "OrtGetApiBase");
    api = base()->GetApi(21);
    OrtEnv *environment;
    OrtSessionOptions *options;
    OrtSession *session;
    check(api->CreateEnv(ORT_LOGGING_LEVEL_ERROR, "bare", &environment));
    check(api->CreateSessionOptions(&options));
    check(api->SetIntraOpNumThreads(options, 1));
    check(api->SetInterOpNumThreads(options, 1));
    check(api->AddSessionConfigEntry(options, "session.x64quantprecision", "1"));
    check(api->DisableMemPattern(options));
    check(api->CreateSession(environment, model, options, &session));
    return session;
}

static double run(OrtSession *session, const char *input, const char *output, size_t row) {
    static float *data;
    if (data == NULL) data = calloc(row, sizeof *data);
    const double begin = now();
    const int64_t shape[] = {1, (int64_t)row};
    OrtMemoryInfo *memory;
    OrtValue *value, *result = NULL;
    check(api->CreateCpuMemoryInfo(OrtDeviceAllocator, OrtMemTypeDefault, &memory));
    check(api->CreateTensorWithDataAsOrtValue(memory, data, row * sizeof *data, shape, 2,
                                              ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, &value));
    check(api->Run(session, NULL, &input, (const OrtValue *const *)&value, 1, &output, 1, &result));
    api->ReleaseValue(result);
    api->ReleaseValue(value);
    api->ReleaseMemoryInfo(memory);
    return now() - begin;
}

static long resident(void) {
    char line[256];
    long kib = 0;
    FILE *status = fopen("/proc/self/status", "r");
    while (status != NULL && fgets(line, sizeof line, status) != NULL)
        sscanf(line, "VmRSS: %ld", &kib);
    return kib;
}

int main(int count, char **words) {
    if (count != 7) return 2;
    OrtSession *session = load(words[1], words[2]);
    puts("session");
    fflush(stdout);
    const int runs = atoi(words[6]);
    double *times = malloc(sizeof *times * (runs > 0 ? runs : 1));
    for (int i = 0; i < runs; ++i)
        times[i] = run(session, words[3], words[4], strtoul(words[5], NULL, 10));
    qsort(times, runs, sizeof *times, by_size);
    printf("%.2f %ld\n", runs > 0 ? times[runs / 2] : 0, resident());
    return 0;
}
