cdef enum Posting:              # what put() did with a letter
    ACCEPTED
    FIRST                       # accepted, and the loop must be woken
    REFUSED_FULL                # it would exceed a limit, with the policy "raise"
    REFUSED_SHUT


@cython.final
cdef class Mailbox:
    cdef PyThread_type_lock lock
    cdef object letters         # a deque of (frames, size, flags, Delivery)
    cdef readonly Py_ssize_t count   # letters
    cdef readonly int64_t size  # bytes of their frames
    cdef Py_ssize_t dropped     # letters dropped here since the last take(), which had no Delivery
    cdef list unreported        # dropped letters with a Delivery: their drop may have to be reported
    cdef readonly int has_mail  # there are letters or drops: take() is due
    cdef bint is_shut

    cpdef Posting put(self, Outbox outbox, tuple letter, bint quiet) except *
    cdef Posting put_locked(
        self, Outbox outbox, tuple letter, Py_ssize_t size, bint quiet, list gone) except *
    cdef int account(self, Py_ssize_t count, int64_t size) noexcept
    cdef bint exceeds(self, Outbox outbox, Py_ssize_t count, int64_t size) noexcept
    cpdef tuple take(self)
    cpdef int shut(self) except -1
