@cython.final
cdef class GuestReactor(Reactor):
    """On somebody else's loop: the epoll descriptor is one reader of it."""
    cdef bint attached          # registered with the loop
    cdef list timers            # the two TimerHandles of the next sweeps; empty: not attached
    cdef int64_t[2] due         # when they are, by zs_now()
    cdef int64_t asked          # calls that wake() has asked for; only the last one counts
    cdef int64_t answered       # the last that came
    cdef int64_t asked_then     # `asked` at the last sweep

    cdef int attach(self) except -1
    cdef int detach(self) except -1
    cdef int start_timer(self, int which, int64_t wait) except -1
    cdef int stop_timers(self) except -1
    cdef bint end_in_child(self) except -1
    cdef bint told_in_child(self) except -1
    cdef int dispatch(self) except -1
