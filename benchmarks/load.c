// Sends one HTTP request again and again over connections that stay open.
//
//     load PORT FILE CONNECTIONS REQUESTS
//
// FILE is the whole request, headers and body. Every answer must have the status 200 and the body
// of the first one. Prints requests, errors, seconds, and the median and the 99th percentile of the
// time of a request in microseconds.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { SIZE = 1 << 20 };

struct connection {
    int socket;
    size_t sent, got;
    double begin;
    char *answer;
};

static char *request, *first;
static size_t request_size, first_size;
static long errors;

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1e6 + time.tv_nsec / 1e3;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void push(struct connection *c) {
    while (c->sent < request_size) {
        const ssize_t n = send(c->socket, request + c->sent, request_size - c->sent, MSG_NOSIGNAL);
        if (n < 0) fail("send");
        c->sent += (size_t)n;
    }
}

static void begin(struct connection *c) {
    c->sent = c->got = 0;
    c->begin = now();
    push(c);
}

// The size of the whole answer once its headers are there, else 0.
static size_t answer_size(const struct connection *c, size_t *head) {
    const char *end = memmem(c->answer, c->got, "\r\n\r\n", 4);
    if (end == NULL) return 0;
    c->answer[c->got] = '\0';
    const char *length = strcasestr(c->answer, "\r\nContent-Length:");
    if (length == NULL || length > end) return 0;
    *head = (size_t)(end + 4 - c->answer);
    return *head + strtoul(length + 17, NULL, 10);
}

// Whether the answer is there; counts one that is wrong.
static int take(struct connection *c) {
    const ssize_t n = recv(c->socket, c->answer + c->got, SIZE - c->got - 1, 0);
    if (n <= 0) fail("recv");
    c->got += (size_t)n;
    size_t head = 0;
    const size_t whole = answer_size(c, &head);
    if (whole == 0 || c->got < whole) return 0;
    if (first == NULL) {
        first_size = whole - head;
        first = malloc(first_size + 1);
        memcpy(first, c->answer + head, first_size);
    }
    const int good = strncmp(c->answer, "HTTP/1.1 200", 12) == 0 && whole - head == first_size &&
                     memcmp(c->answer + head, first, first_size) == 0;
    if (!good && errors++ == 0) fprintf(stderr, "%.*s\n", (int)c->got, c->answer);
    return 1;
}

static int connect_to(int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    const int made = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    if (connect(made, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
    setsockopt(made, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return made;
}

static void read_request(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL) fail(path);
    request = malloc(SIZE);
    request_size = fread(request, 1, SIZE, file);
    fclose(file);
}

static int by_size(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

int main(int count, char **words) {
    if (count != 5) return 2;
    read_request(words[2]);
    const int open = atoi(words[3]);
    const long requests = atol(words[4]);
    float *times = malloc(sizeof *times * (size_t)requests);
    struct connection *all = calloc((size_t)open, sizeof *all);
    const int poll = epoll_create1(0);
    for (int i = 0; i < open; ++i) {
        all[i].socket = connect_to(atoi(words[1]));
        all[i].answer = malloc(SIZE);
        struct epoll_event wanted = {.events = EPOLLIN, .data.ptr = &all[i]};
        epoll_ctl(poll, EPOLL_CTL_ADD, all[i].socket, &wanted);
    }
    const double start = now();
    long begun = 0, done = 0;
    for (int i = 0; i < open && begun < requests; ++i, ++begun) begin(&all[i]);
    while (done < requests) {
        struct epoll_event events[64];
        const int ready = epoll_wait(poll, events, 64, 30000);
        if (ready <= 0) fail("no answer within 30 s");
        for (int i = 0; i < ready; ++i) {
            struct connection *c = events[i].data.ptr;
            if (!take(c)) continue;
            times[done++] = (float)(now() - c->begin);
            if (begun < requests) ++begun, begin(c);
        }
    }
    const double seconds = (now() - start) / 1e6;
    qsort(times, (size_t)requests, sizeof *times, by_size);
    printf("%ld %ld %.3f %.2f %.2f\n", done, errors, seconds, times[requests / 2],
           times[requests * 99 / 100]);
    return errors == 0 ? 0 : 1;
}
