cdef class Source:
    """A ZeroMQ socket that a reactor watches."""
    cdef object __weakref__
    cdef Reactor reactor        # of the loop it belongs to; None before it is opened
    cdef Socket sock            # pyzmq's socket; None when closed
    cdef Socket origin          # the one that `sock` shadows, or `sock` itself
    cdef int fd                 # its ZMQ_FD, kept: after ETERM libzmq does not tell it any more
    cdef int watched            # what is polled: fd, or a duplicate of it; -1: nothing
    cdef State state
    cdef int running            # operations under way, nested: turns and flushes
    cdef PyObject *ready_prev   # neighbours on a ready list; borrowed
    cdef PyObject *ready_next
    cdef PyObject *listed       # the ReadyList it is on, borrowed; NULL: none
    cdef Py_ssize_t index       # its place in reactor.sources; -1: not there
    cdef int64_t events_read_at  # the sweeper's epoch when ZMQ_EVENTS was last read
    cdef bint touched           # its raw socket was handed out since the last sweep
    cdef bint maybe_readable    # a turn should try to receive
    cdef bint retry             # no event will tell when to go on: it gets turns by the clock
    cdef int64_t repaired       # events that a sweep found: swallowed edges, and some that just came

    cdef inline void *handle(self) noexcept:
        """libzmq's socket, or NULL when somebody has closed it."""
        if self.sock is None or self.origin.handle is NULL:
            return NULL
        return self.sock.handle

    cdef bint has_socket(self) noexcept
    cdef int release_socket(self) except -1

    # hooks: what kinds of sources do differently
    cdef int turn(self) except -1
    cdef int interest(self) noexcept
    cdef int effective_interest(self, int events) except -1
    cdef bint has_work(self) noexcept
    cdef int after_operation(self) except -1
    cdef int on_socket_error(self, int code) except -1
    cdef int on_loop_closed(self) except -1
    cdef int on_fork(self) except -1
    cdef int on_missed_event(self) except -1

    cdef int open_source(self, Socket socket, Socket origin, int fd, Reactor reactor) except -1
    cdef int finish(self, Ending ending) except -1
    cdef int rest(self, Ending ending) except -1
    cdef int read_events(self) except -2
    cdef int set_retry(self, bint retry) noexcept
    cdef int touch(self) except -1
