# The few C types of libzmq, its constants, and the functions that the core calls.
#
# The types come from pyzmq's declarations (so that its Frames can be used directly), the functions
# from the libzmq that pyzmq has loaded: `lib` is filled once, at import, by libzmq.pyx.

cdef enum:
    DONTWAIT = 1
    SNDMORE = 2

    POLLIN = 1
    POLLOUT = 2

    OPT_EVENTS = 15
    OPT_LINGER = 17
    OPT_RCVTIMEO = 27
    OPT_SNDTIMEO = 28
    OPT_LAST_ENDPOINT = 32

    TYPE_PAIR = 0
    TYPE_ROUTER = 6
    TYPE_STREAM = 11

    # libzmq numbers its own errors from here (ZMQ_HAUSNUMERO in zmq.h)
    EFSM = 156384763
    ETERM = 156384765

ctypedef struct LibZmq:
    void (*version)(int *, int *, int *) noexcept nogil
    int (*last_error)() noexcept nogil
    int (*getsockopt)(void *, int, void *, size_t *) noexcept nogil
    int (*setsockopt)(void *, int, const void *, size_t) noexcept nogil
    int (*close)(void *) noexcept nogil
    int (*msg_init)(zmq_msg_t *) noexcept nogil
    int (*msg_init_size)(zmq_msg_t *, size_t) noexcept nogil
    int (*msg_close)(zmq_msg_t *) noexcept nogil
    int (*msg_move)(zmq_msg_t *, zmq_msg_t *) noexcept nogil
    int (*msg_copy)(zmq_msg_t *, zmq_msg_t *) noexcept nogil
    void *(*msg_data)(zmq_msg_t *) noexcept nogil
    size_t (*msg_size)(zmq_msg_t *) noexcept nogil
    int (*msg_more)(zmq_msg_t *) noexcept nogil
    int (*msg_recv)(zmq_msg_t *, void *, int) noexcept nogil
    int (*msg_send)(zmq_msg_t *, void *, int) noexcept nogil
