cdef enum Policy:               # what becomes of a message beyond the limits
    WAIT
    RAISE
    DROP_NEWEST
    DROP_OLDEST


@cython.final
cdef class Outbox:
    cdef SendQueue queue
    cdef dict parked            # ROUTER: {peer: SendQueue} of peers that refused; None: never
    cdef Py_ssize_t parked_count      # messages in it
    cdef bytes next_parked      # whom unpark() begins with; None, or gone: with the first
    cdef Py_ssize_t queued      # messages that wait: in `queue` and in `parked`
    cdef int64_t queued_bytes
    cdef Py_ssize_t peak_queued
    cdef Py_ssize_t high        # messages: more are too many...
    cdef Py_ssize_t low         # ...until so few are left
    cdef Py_ssize_t high_bytes  # likewise
    cdef Py_ssize_t low_bytes
    cdef Policy policy
    cdef bint over              # the queue was too long, and has not fallen to `low` since
    cdef bint drop_logged       # a drop was logged since then
    cdef list timed             # a heap of (deadline, serial, SendExtra), or None
    cdef Py_ssize_t most_timed  # it is made anew when it has so many
    cdef int64_t serial         # of the last one

    cdef int removed(self, Py_ssize_t size) noexcept
    cdef bint has_limits(self) noexcept
    cdef bint is_full(self, Py_ssize_t size) noexcept
