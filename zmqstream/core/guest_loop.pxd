@cython.final
cdef class GuestReactor(Reactor):
    """On somebody else's loop: the epoll descriptor is one reader of it."""
    cdef bint attached          # registered with the loop
    cdef int scheduled          # the loop will call _on_call()
    cdef bint nests             # the loop has run inside a callback, and may do so again
    cdef bint reported          # the loop has just found the epoll descriptor readable
    cdef object timer           # the TimerHandle of the next sweep

    cdef int attach(self) except -1
    cdef int detach(self) except -1
    cdef int start_timer(self) except -1
    cdef bint report_fork(self) except -1
    cdef bint end_in_child(self) except -1
    cdef int dispatch(self) except -1
    cdef int run_pass_outside(self) except -1
