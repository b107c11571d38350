/* The few types that pyzmq's Cython declarations want from a header of this name.
 *
 * pyzmq's wheels ship a libzmq but no zmq.h, and zmqstream takes libzmq's functions from
 * the library that pyzmq has loaded (see _libzmq.pxi), so nothing here is linked against.
 * Sizes and names are libzmq's stable public ABI, version 4.x: zmq_msg_t is 64 bytes,
 * aligned as a pointer.
 */
#ifndef ZMQSTREAM_ZMQ_H
#define ZMQSTREAM_ZMQ_H

#define ZMQ_VERSION_MAJOR 4
#define ZMQ_VERSION_MINOR 3
#define ZMQ_VERSION_PATCH 5
#define ZMQ_VERSION 40305

#if defined _WIN32
#include <stdint.h>
#if defined _WIN64
typedef uint64_t zmq_fd_t;
#else
typedef uint32_t zmq_fd_t;
#endif
#else
typedef int zmq_fd_t;
#endif

#if defined _MSC_VER
typedef struct zmq_msg_t { __declspec (align (8)) unsigned char _[64]; } zmq_msg_t;
#else
typedef struct zmq_msg_t {
    unsigned char _[64] __attribute__ ((aligned (sizeof (void *))));
} zmq_msg_t;
#endif

typedef void (zmq_free_fn) (void *data_, void *hint_);

typedef struct zmq_pollitem_t {
    void *socket;
    zmq_fd_t fd;
    short events;
    short revents;
} zmq_pollitem_t;

#endif
