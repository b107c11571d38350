cdef enum Policy:               # what becomes of a message beyond the limits
    WAIT
    RAISE
    DROP_NEWEST
    DROP_OLDEST


cdef class Flow(Outgoing):
    """How much may wait to be sent, for how long, and who is told when there is room."""
    cdef Py_ssize_t high        # messages: more are too many...
    cdef Py_ssize_t low         # ...until so few are left
    cdef Py_ssize_t high_bytes  # likewise
    cdef Py_ssize_t low_bytes
    cdef Policy policy
    cdef bint over              # the queue was too long, and has not fallen to `low` since
    cdef bint drop_logged       # a drop was logged since then
    cdef bint drain_due         # _call_on_drain() is scheduled
    cdef list drainers          # futures of those that wait for `low`; None: never any
    cdef list emptiers          # futures of those that wait for an empty queue, or None
    cdef object drain_callback  # of on_drain, or None
    cdef object drain_context
    cdef object untold          # a deque of what was dropped: (frames, SendExtra, error); or None
    cdef list timed             # a heap of (deadline, serial, SendExtra), or None
    cdef Py_ssize_t most_timed  # it is made anew when it has so many
    cdef int64_t serial         # of the last one
    cdef object timer           # the TimerHandle of _on_expiry(), or None
    cdef int64_t timer_at       # when that will be, ns

    cdef bint has_limits(self) noexcept
    cdef bint is_full(self, Py_ssize_t size) noexcept
    cdef bint make_room(self, object frames, Py_ssize_t size, SendExtra extra) except -1
    cdef int drop_oldest(self) except -1
    cdef int drop(self, object frames, SendExtra extra) except -1
    cdef bint tell_untold(self, Budget *budget) except -1
    cdef int check_level(self) except -1
    cdef int attend(self) except -1
    cdef int watch_deadline(self, SendExtra extra) except -1
    cdef int set_timer(self) except -1
    cdef object withdraw(self, SendExtra extra)
    cdef int end_flow(self) except -1
