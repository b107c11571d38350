/* The least that libzmq itself needs: the loops that every binding is held against.
 *
 * No libzmq is linked and no zmq.h is needed: the functions come as addresses, from the very
 * library that pyzmq has loaded. zmq_msg_t is 64 bytes aligned as a pointer, by libzmq's stable
 * ABI. Every function returns nanoseconds, or -errno of the libzmq call that failed. None allocates
 * and none looks at a clock within its loop, but round_trips(), whose work that is, and flood() when
 * it has to wait.
 */
#include <errno.h>
#include <poll.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <time.h>

typedef struct {
    unsigned char _[64] __attribute__ ((aligned (sizeof (void *))));
} zmq_msg_t;

enum { DONTWAIT = 1, SNDMORE = 2 };

typedef struct { /* in the order of climit.py's NAMES */
    int (*msg_init) (zmq_msg_t *);
    int (*msg_init_size) (zmq_msg_t *, size_t);
    int (*msg_close) (zmq_msg_t *);
    void *(*msg_data) (zmq_msg_t *);
    int (*msg_more) (const zmq_msg_t *);
    int (*msg_recv) (zmq_msg_t *, void *, int);
    int (*msg_send) (zmq_msg_t *, void *, int);
    int (*last_error) (void);
} libzmq;

static int64_t now (void)
{
    struct timespec t;
    clock_gettime (CLOCK_MONOTONIC, &t);
    return (int64_t) t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Receive `messages` whole messages into one zmq_msg_t; EAGAIN with DONTWAIT is a failure. */
int64_t climit_receive (const libzmq *zmq, void *socket, int64_t messages, int flags)
{
    zmq_msg_t msg;
    int64_t start, result;
    zmq->msg_init (&msg);
    start = now ();
    for (int64_t i = 0; i < messages; i++) {
        do {
            if (zmq->msg_recv (&msg, socket, flags) < 0) {
                result = -zmq->last_error ();
                goto end;
            }
        } while (zmq->msg_more (&msg));
    }
    result = now () - start;
end:
    zmq->msg_close (&msg);
    return result;
}

/* Send `messages` messages of `frames` frames, each a copy of the `size` bytes at `data`. */
int64_t climit_send (
  const libzmq *zmq, void *socket, int64_t messages, int frames, const void *data, size_t size)
{
    zmq_msg_t msg;
    int64_t start = now ();
    for (int64_t i = 0; i < messages; i++) {
        for (int frame = 1; frame <= frames; frame++) {
            if (zmq->msg_init_size (&msg, size) < 0)
                return -zmq->last_error ();
            memcpy (zmq->msg_data (&msg), data, size);
            if (zmq->msg_send (&msg, socket, frame < frames ? SNDMORE : 0) < 0) {
                int64_t error = zmq->last_error ();
                zmq->msg_close (&msg);
                return -error;
            }
        }
    }
    return now () - start;
}

/* Send messages of 16 B that begin with their number, counted from 0; the last of two frames. */
int64_t climit_send_numbered (const libzmq *zmq, void *socket, int64_t messages)
{
    int64_t data[2] = {0, 0};
    int64_t start = now ();
    while (data[0] < messages) {
        int frames = data[0] + 1 < messages ? 1 : 2;
        int64_t result = climit_send (zmq, socket, 1, frames, data, sizeof data);
        if (result < 0)
            return result;
        data[0]++;
    }
    return now () - start;
}

/* Send messages in turn over `count` sockets, the last of each with one frame more. `waited` gets the
 * nanoseconds in which the sockets had no room: a sender that never waits limits its receiver. */
int64_t climit_flood (const libzmq *zmq, void *const *sockets, int64_t count, int64_t messages,
  int frames, const void *data, size_t size, int64_t *waited)
{
    zmq_msg_t msg;
    int64_t start = now (), next = 0;
    *waited = 0;
    for (int64_t i = 0; i < messages; i++) {
        int last = i + count < messages ? frames : frames + 1;
        for (int frame = 1; frame <= last; frame++) {
            int flags = frame < last ? SNDMORE : 0;
            if (zmq->msg_init_size (&msg, size) < 0)
                return -zmq->last_error ();
            memcpy (zmq->msg_data (&msg), data, size);
            if (zmq->msg_send (&msg, sockets[next], flags | DONTWAIT) < 0) {
                int64_t since = now (), error = zmq->last_error ();
                if (error != EAGAIN || zmq->msg_send (&msg, sockets[next], flags) < 0) {
                    error = zmq->last_error ();
                    zmq->msg_close (&msg);
                    return -error;
                }
                *waited += now () - since;
            }
        }
        if (++next == count)
            next = 0;
    }
    return now () - start;
}

/* Send every frame back, for ever. */
int64_t climit_echo (const libzmq *zmq, void *socket)
{
    zmq_msg_t msg;
    int64_t error;
    zmq->msg_init (&msg);
    for (;;) {
        if (zmq->msg_recv (&msg, socket, 0) < 0)
            break;
        if (zmq->msg_send (&msg, socket, zmq->msg_more (&msg) ? SNDMORE : 0) < 0)
            break;
    }
    error = zmq->last_error ();
    zmq->msg_close (&msg);
    return -error;
}

/* `requests` requests and their replies, never more than `outstanding` under way. */
int64_t climit_requests (const libzmq *zmq, void *socket, int64_t requests, int64_t outstanding,
  const void *data, size_t size)
{
    int64_t start = now (), sent = 0;
    for (int64_t replies = 0; replies < requests; replies++) {
        int64_t result = 0;
        while (result >= 0 && sent < requests && sent - replies < outstanding) {
            result = climit_send (zmq, socket, 1, 1, data, size);
            sent++;
        }
        if (result >= 0)
            result = climit_receive (zmq, socket, 1, 0);
        if (result < 0)
            return result;
    }
    return now () - start;
}

/* Send a message, wait for its echo, and again; `each` gets what every round trip took. */
int64_t climit_round_trips (
  const libzmq *zmq, void *socket, int64_t trips, const void *data, size_t size, int64_t *each)
{
    int64_t begin = now ();
    for (int64_t i = 0; i < trips; i++) {
        int64_t start = now ();
        int64_t result = climit_send (zmq, socket, 1, 1, data, size);
        if (result >= 0)
            result = climit_receive (zmq, socket, 1, 0);
        if (result < 0)
            return result;
        each[i] = now () - start;
    }
    return now () - begin;
}

/* A message to and fro between two sockets of one thread. Without `events` it tries both in turn, and
 * polls when neither has anything: no earlier, as a send may have taken note of a message that has
 * come, and silenced the descriptor. With `events` it does what a loop of any number of sockets has to:
 * it tries each once, then asks which have something, and receives until they have nothing. */
int64_t climit_ping_pong (const libzmq *zmq, void *const *sockets, const int *descriptors,
  int events, int64_t trips, const void *data, size_t size)
{
    zmq_msg_t msg;
    struct pollfd polled[2] = {{descriptors[0], POLLIN, POLLIN}, {descriptors[1], POLLIN, POLLIN}};
    int64_t start = now (), result = climit_send (zmq, sockets[0], 1, 1, data, size);
    int64_t left = 2 * trips;
    zmq->msg_init (&msg);
    while (result >= 0 && left > 0) {
        int64_t before = left;
        for (int i = 0; i < 2 && result >= 0 && left > 0; i++) {
            if (events && polled[i].revents == 0)
                continue;
            while (zmq->msg_recv (&msg, sockets[i], DONTWAIT) >= 0 && result >= 0)
                if (--left > 0)
                    result = climit_send (zmq, sockets[i], 1, 1, data, size);
            if (result >= 0 && zmq->last_error () != EAGAIN)
                result = -zmq->last_error ();
        }
        if (result >= 0 && left > 0 && (events || left == before) && poll (polled, 2, -1) < 0)
            result = -errno;
    }
    zmq->msg_close (&msg);
    return result < 0 ? result : now () - start;
}
