# What waits to be sent.

cdef enum:
    STALE_DEADLINES = 64  # in the heap, of messages that have gone, before it is made anew


cdef Py_ssize_t UNLIMITED = sys.maxsize

@cython.final
cdef class Outbox:
    def __cinit__(self):
        self.queue = SendQueue()
        self.high = self.low = self.high_bytes = self.low_bytes = UNLIMITED
        self.policy = WAIT
        self.most_timed = STALE_DEADLINES

    cdef inline int removed(self, Py_ssize_t size) noexcept:
        """A message of `size` bytes leaves the queue for good."""
        self.queued -= 1
        self.queued_bytes -= size
        return 0

    cdef bint has_limits(self) noexcept:
        return self.high != UNLIMITED or self.high_bytes != UNLIMITED

    cdef bint is_full(self, Py_ssize_t size) noexcept:
        """Whether a message of `size` bytes is one too many. To an empty queue none is."""
        return self.queued > 0 and (
            self.queued + 1 > self.high or self.queued_bytes + size > self.high_bytes)
