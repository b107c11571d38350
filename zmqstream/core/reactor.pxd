cdef class Reactor:
    """The sources of one loop, and the turns that those get which are ready."""
    cdef object __weakref__
    cdef readonly object loop   # the asyncio loop
    cdef readonly str poller    # "epoll" or "selectors"
    cdef int epfd               # -1: not epoll, or not attached
    cdef int generation         # fork_generation at the start; -1: the loop was closed
    cdef list sources           # all of them, each at its index; keeps them alive
    cdef PyObject **by_fd       # the source that watches a descriptor, borrowed; NULL: none
    cdef int by_fd_size
    cdef ReadyList ready        # who gets a turn, in order
    cdef ReadyList later        # who had one in this pass and is still ready
    cdef Source current         # whose turn it is; None: no pass is under way
    cdef list suspects          # whose raw socket was handed out since the last sweep
    cdef int retrying           # sources with `retry`
    cdef bint sleeping          # nobody looks at the ready list: who makes a source ready wakes us
    cdef bint called            # the loop was given something to run since it came by
    cdef int64_t now            # the clock, ns, when it was last read
    cdef int64_t yielded_at     # when other threads and signal handlers last had their chance, ns
    cdef int64_t epoch          # grows whenever user code ran, which may have touched raw sockets
    cdef int64_t swept_epoch    # the epoch up to which every armed source is known to be right
    cdef int64_t sweep_epoch    # the epoch when the sweep under way began
    cdef int64_t swept_at       # when the last full sweep ended, ns
    cdef Py_ssize_t cursor      # sources that the sweep under way has still to see; 0: none is
    cdef int64_t retry_at       # when sources with `retry` get their next turn, ns
    cdef readonly int64_t repaired  # of all sources
    cdef int64_t polls          # and what else stats() tells
    cdef int64_t sleeps
    cdef int64_t passes
    cdef int64_t turns
    cdef int64_t sweeps

    cdef int check(self) except -1
    cdef int check_process(self) except -1

    # each home has its own
    cdef int watch(self, Source source) except -1
    cdef int unwatch(self, Source source) except -1
    cdef int wake(self) except -1

    cdef int emptied(self) except -1
    cdef int check_loop(self) except -1

    cdef int call_soon(self, object callback, tuple args) except -1
    cdef int wake_future(self, object future) except -1
    cdef int wake_all(self, list futures) except -1
    cdef int add(self, Source source) except -1
    cdef int map_fd(self, Source source, int fd) except -1
    cdef int unmap_fd(self, Source source, int fd) noexcept
    cdef int remove(self, Source source) except -1
    cdef int serve(self, Source source) except -1
    cdef int later_to_ready(self) noexcept
    cdef int look_again(self, Source source) except -1
    cdef int link(self, Source source, ReadyList *target) noexcept
    cdef int enqueue(self, Source source) except -1
    cdef int enqueue_later(self, Source source) except -1
    cdef int unlink(self, Source source) noexcept
    cdef int run_pass(self) except -1
    cdef double sweep_wait(self) noexcept
    cdef int sweep(self) except -1
    cdef int sweep_suspects(self) except -1
    cdef double retry_wait(self) noexcept
    cdef int retry_all(self) except -1
    cdef list poll_epoll(self, double timeout, dict keys)
    cdef int close_sources(self) except -1
