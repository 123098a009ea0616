/* An external delegate for the doubling model of tests/fixtures/bundles, that computes on the CPU.
 *
 * It takes the first TAKES nodes, and with HANGS never ends a run. The layouts are those of
 * tensorflow/lite/core/c/common.h, which every external delegate is compiled against. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

typedef struct {
    int size;
    int data[2];
} Ints;

typedef struct {
    int type;
    float* data;
    Ints* dims;
    float scale;
    int zero_point;
    int allocation_type;
    size_t bytes;
    const void* allocation;
    const char* name;
    void* delegate;
    int buffer_handle;
    _Bool stale, variable;
    int quantization_type;
    void* quantization;
    void* sparsity;
    const Ints* signature;
} Tensor;

typedef struct {
    Ints *inputs, *outputs, *intermediates, *temporaries;
    void* user_data;
} Node;

typedef struct Context Context;
typedef struct Delegate Delegate;

typedef struct {
    void* (*init)(Context*, const char*, size_t);
    void (*free)(Context*, void*);
    int (*prepare)(Context*, Node*);
    int (*invoke)(Context*, Node*);
    const char* (*profiling)(const Context*, const Node*);
    int builtin_code;
    const char* name;
    int version;
    void *external, *async;
    uint64_t inplace;
} Registration;

struct Context {
    size_t tensors_size;
    int (*plan)(Context*, Ints**);
    Tensor* tensors;
    void* impl;
    int (*resize)(Context*, Tensor*, Ints*);
    void (*report)(Context*, const char*, ...);
    int (*add)(Context*, int, int*);
    int (*node)(Context*, int, Node**, Registration**);
    int (*replace)(Context*, Registration, const Ints*, Delegate*);
};

struct Delegate {
    void* data;
    int (*prepare)(Context*, Delegate*);
    void *copy_from, *copy_to, *free_buffer;
    int64_t flags;
    void* builder;
};

typedef struct {
    Delegate* delegate;
    Ints *nodes, *inputs, *outputs;
} Params;

static void* init(Context* context, const char* buffer, size_t length) {
    (void)context, (void)length;
    int* nodes = malloc(sizeof *nodes);
    *nodes = ((const Params*)buffer)->nodes->size;
    return nodes;
}

static void release(Context* context, void* nodes) {
    (void)context;
    free(nodes);
}

static int prepare(Context* context, Node* node) {
    const Ints* from = context->tensors[node->inputs->data[0]].dims;
    Ints* shape = malloc(sizeof *shape);
    *shape = *from;
    return context->resize(context, &context->tensors[node->outputs->data[0]], shape);
}

static int invoke(Context* context, Node* node) {
#ifdef HANGS
    for (;;) pause();
#endif
    const Tensor* from = &context->tensors[node->inputs->data[0]];
    Tensor* to = &context->tensors[node->outputs->data[0]];
    const int factor = 1 << *(const int*)node->user_data;
    for (size_t i = 0; i < from->bytes / sizeof(float); ++i) {
        to->data[i] = (float)factor * from->data[i];
    }
    return 0;
}

static int take(Context* context, Delegate* delegate) {
    Ints* plan = NULL;
    if (context->plan(context, &plan) != 0) return 1;
    Ints taken = {TAKES, {plan->data[0], plan->size > 1 ? plan->data[1] : 0}};
    const Registration kernel = {init, release, prepare, invoke, NULL, 0, "Fake", 1, NULL, NULL, 0};
    return TAKES == 0 ? 0 : context->replace(context, kernel, &taken, delegate);
}

Delegate* tflite_plugin_create_delegate(char** keys, char** values, size_t count,
                                        void (*report)(const char*)) {
    (void)keys, (void)values, (void)count, (void)report;
    Delegate* delegate = calloc(1, sizeof *delegate);
    delegate->prepare = take;
    return delegate;
}

void tflite_plugin_destroy_delegate(Delegate* delegate) { free(delegate); }
