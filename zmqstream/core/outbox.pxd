cdef enum Policy:               # what to do with a message that would exceed a limit
    WAIT
    RAISE
    DROP_NEWEST
    DROP_OLDEST


@cython.final
cdef class Outbox:
    cdef readonly Ring ring
    cdef readonly dict parked   # {routing id: Ring} of peers without room; None: there has been none
    cdef readonly Py_ssize_t parked_count      # messages in `parked`
    cdef public bytes next_parked  # the peer to retry first; None, or a peer that has gone: the first
    cdef readonly Py_ssize_t queued            # waiting messages, in `ring` and in `parked`
    cdef readonly int64_t queued_bytes
    cdef readonly Py_ssize_t peak_queued
    cdef Py_ssize_t high        # the limit in messages...
    cdef Py_ssize_t low         # ...and what the outbox must fall to
    cdef Py_ssize_t high_bytes  # the limit in bytes
    cdef Py_ssize_t low_bytes
    cdef Policy policy
    cdef readonly bint above_high  # it was above `high`, and has not fallen to `low` since
    cdef bint drop_logged       # a drop was logged while above_high
    cdef readonly list deadlines  # a heap of (deadline, serial, Delivery); None: empty
    cdef Py_ssize_t most_deadlines  # the length at which entries of messages that have left go
    cdef int64_t serial         # of the last entry

    cpdef int put(self, object frames, Py_ssize_t size, int flags, Delivery delivery) except -1
    cdef int account(self, Py_ssize_t count, int64_t size) noexcept
    cpdef object take(self, Ring ring)
    cpdef int discard(self, Ring ring) except -1
    cpdef object cancel(self, Delivery delivery)
    cpdef int park(self, bytes peer) except -1
    cdef int unparked(self, Ring ring) except -1
    cpdef list parked_peers(self)
    cpdef Ring oldest_ring(self)
    cpdef int set_limits(
        self, Py_ssize_t high, Py_ssize_t low, Py_ssize_t high_bytes, Py_ssize_t low_bytes,
        Policy policy) except -1
    cpdef bint has_limits(self)
    cpdef bint is_full(self, Py_ssize_t size)
    cpdef int check_high(self) noexcept
    cpdef bint fell_to_low(self)
    cpdef int add_deadline(self, Delivery delivery) except -1
    cpdef int64_t next_deadline(self) except -1
    cpdef Delivery take_overdue(self, int64_t now)
    cpdef int clear(self) except -1
