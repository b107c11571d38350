@cython.final
cdef class OwnLoopReactor(Reactor):
    """The selector of a loop of asyncio's, our EventLoop or not; or what a loop of uvloop's runs."""
    # a selectors.DefaultSelector with the descriptors of asyncio, or that of libuv; None: no sources
    cdef object selector
    cdef object base_select     # its own select(), for the poller "selectors"
    cdef dict keys              # {fd: SelectorKey} of what is registered with the selector
    cdef public object on_poll  # called before (True) and after (False) each poll, and in close() (None)
    cdef UvHook hook            # of uvloop's loop; None: the loop calls select()
    cdef object loop_ready      # asyncio's queue of handles; None: unknown, see has_news()
    # asyncio's heap of timers at the beginning of select(), its length and its head
    cdef list timers            # None: unknown
    cdef Py_ssize_t timer_count
    cdef object timer_head

    cdef int use(self, object selector, object base_select) except -1
    cdef int run_hooked(self) except -1
    cdef int begin(self) except -1
    cdef list dispatch(self, int64_t deadline)
    cdef list poll_once(self, int64_t deadline)
    cdef double sleep_for(self, int64_t deadline, double sweep_wait) noexcept
    cdef list poll(self, double timeout)
    cdef list poll_selected(self, double timeout)
    cdef int remember_loop(self) except -1
    cdef bint has_news(self) except -1
