cdef enum Posting:              # what became of a letter
    ACCEPTED
    FIRST                       # likewise, and somebody must be told that there is mail
    REFUSED_FULL                # a limit with the policy "raise"
    REFUSED_SHUT


@cython.final
cdef class Mailbox:
    cdef PyThread_type_lock lock
    cdef object letters         # a deque of (frames, size, flags, Delivery)
    cdef readonly Py_ssize_t count   # of them
    cdef readonly int64_t size  # bytes of their frames
    cdef Py_ssize_t dropped     # letters dropped here since the last take(), which had no Delivery
    cdef list unreported        # likewise, those that had one: their drop may have to be reported
    cdef readonly bint has_mail  # letters, or drops: take() is due
    cdef bint is_shut

    cpdef Posting put(self, Outbox outbox, tuple letter, bint quiet) except *
    cdef Posting put_locked(
        self, Outbox outbox, tuple letter, Py_ssize_t size, bint quiet, list gone) except *
    cdef bint exceeds(self, Outbox outbox, Py_ssize_t count, int64_t size) noexcept
    cpdef tuple take(self)
    cpdef int shut(self) except -1
