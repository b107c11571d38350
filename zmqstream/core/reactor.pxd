cdef enum LoopState:
    LOOP_OPEN
    LOOP_CLOSED
    LOOP_FORKED                 # of the parent process, in a child


cdef struct LoopCounts:         # what LoopStats tells
    int64_t polls
    int64_t sleeps
    int64_t passes
    int64_t turns


cdef class Reactor:
    """The sources of one loop, and the turns of those that are ready."""
    cdef object __weakref__
    cdef readonly object loop   # the asyncio loop
    cdef dict loop_keyword      # {"loop": loop}, with which futures are made; None before the first
    cdef readonly str poller    # "epoll" or "selectors"
    cdef readonly str kind      # how the loop is served: "own", "adopted", "hooked" or "guest"
    cdef bint is_guest          # the loop is somebody else's, and may be closed without telling us
    cdef LoopState state
    cdef uintptr_t thread       # that runs the loop; before that, the one that made the reactor
    cdef int epfd               # -1: not epoll, or not attached
    cdef list sources           # all of them, each at its index; keeps them alive
    cdef FdTable by_fd
    cdef ReadyList ready        # who gets a turn, in order
    cdef ReadyList next_pass    # who had one in this pass and is still ready
    cdef Sweeper sweeper
    cdef object posted          # a deque: sources with mail from other threads, which append to it
    cdef int has_posted         # ...and then set this
    cdef Source current         # whose turn it is; None: no pass is under way
    cdef int retrying           # sources with `retry`
    cdef int64_t retry_at       # when these get their next turn, ns
    cdef int sleeping           # the loop must be woken: it polls, or waits for other events than ours
    cdef bint called            # the loop was given something to run since it last polled
    cdef int64_t now            # the clock, ns, when it was last read
    cdef int64_t yielded_at     # when other threads and signal handlers last had their chance, ns
    cdef LoopCounts counts

    cdef int check(self) except -1
    cdef int enter(self) except -1

    # hooks: what the two kinds of loops do differently
    cdef int watch(self, Source source) except -1
    cdef int unwatch(self, Source source) except -1
    cdef int wake(self) except -1
    cdef int check_loop(self) except -1
    cdef int on_empty(self) except -1

    cdef int add(self, Source source) except -1
    cdef int remove(self, Source source) except -1
    cdef int close_sources(self) except -1
    cdef int enqueue(self, Source source) except -1
    cdef int enqueue_next_pass(self, Source source) except -1
    cdef int unlink(self, Source source) except -1
    cdef int wake_if_sleeping(self) except -1
    cdef int post(self, Source source) except -1
    cdef int enqueue_posted(self) except -1
    cdef int run_pass(self) except -1
    cdef int start_next_pass(self) except -1
    cdef int dispatch_nested(self, Source source) except -1
    cdef double retry_wait(self) noexcept
    cdef int retry_all(self) except -1
    cdef int call_soon(self, object callback, tuple args) except -1
    cdef int wake_future(self, object future) except -1
    cdef int yield_to_threads(self) except -1
    cdef list poll_epoll(self, double timeout, dict keys)
    cdef list take_events(self, zs_event *events, int count, dict keys)
