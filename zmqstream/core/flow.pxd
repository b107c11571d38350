cdef class Flow(Outgoing):
    """How much may wait to be sent, for how long, and who is told when there is room."""
    cdef bint drain_due         # _call_on_drain() is scheduled
    cdef list drainers          # futures of those that wait for `low`; None: never any
    cdef list emptiers          # futures of those that wait for an empty queue, or None
    cdef object drain_callback  # of on_drain, or None
    cdef object drain_context
    cdef object untold          # a deque of what was dropped: (frames, SendExtra, error); or None
    cdef object timer           # the TimerHandle of _on_expiry(), or None
    cdef int64_t timer_at       # when that will be, ns

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
