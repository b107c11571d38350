cdef enum State:
    IDLE    # nothing is wanted: no receiver, nothing to send
    ARMED   # ZMQ_EVENTS was read after the last libzmq call, and nothing wanted was pending
    READY   # something wanted may be pending: on the ready list, or in its turn
    CLOSED  # for good


cdef struct ReadyList:          # a doubly linked list through the sources themselves
    PyObject *first
    PyObject *last


cdef class Source:
    """A ZeroMQ socket that a reactor watches."""
    cdef object __weakref__
    cdef Reactor reactor        # of the loop it belongs to; None before open()
    cdef Socket sock            # pyzmq's socket; None when closed
    cdef Socket origin          # the one that `sock` shadows, or `sock` itself
    cdef int fd                 # its ZMQ_FD, kept: after ETERM it cannot be asked for
    cdef int watched            # what is polled: fd, or our own duplicate of it; -1: nothing
    cdef State state
    cdef PyObject *ready_prev   # neighbours on a ready list; borrowed
    cdef PyObject *ready_next
    cdef ReadyList *listed      # the list it is on, or NULL
    cdef Py_ssize_t index       # its place in reactor.sources; -1: not there
    cdef int64_t checked        # reactor.epoch when EVENTS was last read
    cdef bint suspect           # its raw socket was handed out since the last sweep
    cdef bint input_due         # a turn should try to receive
    cdef bint retry             # no event will tell when to go on: it gets a turn each RETRY_NS
    cdef int64_t repaired       # events that a sweep found: swallowed edges, and some that just came

    cdef inline void *handle(self) noexcept:
        """libzmq's socket, or NULL when somebody has closed it."""
        if self.sock is None or self.origin.handle is NULL:
            return NULL
        return self.sock.handle

    cdef inline void become(self, State state) noexcept:
        """The one place where `state` changes."""
        zs_count(ZS_SOURCES + <int> self.state, -1)
        zs_count(ZS_SOURCES + <int> state, 1)
        self.state = state

    cdef int wanted(self) noexcept
    cdef int still_wanted(self, int events) except -1
    cdef int leave(self, bint drained=*) except -1
    cdef int set_retry(self, bint retry) except -1
    cdef int turn(self) except -1
    cdef int settle(self, bint drained=*) except -1
    cdef int failed(self, int code) except -1
    cdef int read_events(self) except -2
    cdef int open_source(self, Socket socket, Socket origin, int fd, Reactor reactor) except -1
    cdef int orphan(self) except -1
    cdef int suspect_raw_use(self) except -1
