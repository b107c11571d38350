# The reactor of a loop that is ours: of a selector loop of asyncio's it is the selector.
#
# Our EventLoop is made with it. Any other loop gets it when its first stream comes: see
# eventloop.py. A loop of uvloop's runs it by a hook: see libuv.pyx.

cdef object EVENT_READ = selectors.EVENT_READ
cdef tuple NO_HANDLES = (None, None)  # what asyncio keeps with a descriptor: its reader and its writer


cdef int epoll_add(int epfd, int fd) noexcept:
    """Returns 0, or the error code."""
    return errno if zs_epoll_add(epfd, fd) < 0 else 0


cdef object cannot_poll(Source source, int code):
    return OSError(code, f"cannot poll {name_of(source)}: {os.strerror(code)}")


def _nothing():
    """What a loop is woken with."""


@cython.final
cdef class OwnLoopReactor(Reactor):
    """The selector of a loop: `select()` also gives ZeroMQ sockets their turns."""

    def __init__(self, loop, poller, kind, selector=None, base_select=None, UvHook hook=None):
        self.loop = loop
        self.poller = poller
        self.kind = kind
        self.hook = hook
        self.use(selector, base_select)

    cdef int use(self, object selector, object base_select) except -1:
        """Poll with `selector`, or not at all."""
        self.selector = selector
        self.base_select = base_select
        # its own dict, the same since Python 3.4
        self.keys = None if selector is None else selector._fd_to_key
        self.epfd = selector.fileno() if selector is not None and self.poller == "epoll" else -1
        return 0

    def bind_loop(self):
        """The loop will poll with this selector. Its own __init__ has ended."""
        # These names are private to BaseEventLoop, the same since Python 3.4. Where one is missing,
        # select() returns to asyncio after each pass, which is slower and as correct.
        loop = self.loop
        if hasattr(loop, "_ready") and hasattr(loop, "_stopping") and hasattr(loop, "_scheduled"):
            self.loop_ready = loop._ready
        if loop.is_running():
            zs_store_thread(&self.thread, loop._thread_id)

    def step_aside(self, int fd):
        """asyncio is to watch `fd`: a source that does watches a duplicate from now on."""
        cdef Source source = self.by_fd.get(fd)
        cdef int duplicate, code
        if self.epfd < 0 or source is None:
            return
        if source.handle() is NULL:
            source.on_socket_error(ENOTSOCK)  # closed directly, and the number is in use again
        elif source.watched == fd:
            duplicate = os.dup(fd)
            code = epoll_add(self.epfd, duplicate)
            if code:
                zs_close(duplicate)
                raise cannot_poll(source, code)
            self.by_fd.put(duplicate, source)
            zs_epoll_remove(self.epfd, fd)
            source.watched = duplicate
            source.maybe_readable = True
            self.enqueue(source)

    def close(self):
        """Release all sources; the loop is being closed."""
        if self.on_poll is not None:
            self.on_poll(None)
            self.on_poll = None
        self.close_sources()
        self.use(None, None)  # which refers to this reactor

    # -- the hooks of a reactor -----------------------------------------------------------------

    cdef int watch(self, Source source) except -1:
        cdef int fd = source.fd, code = 0
        if self.hook is not None:
            self.hook.attach(self)
        if self.poller != "epoll":
            # always a descriptor of our own: asyncio may come to watch the other one at any time
            fd = os.dup(fd)
            try:
                self.selector.register(fd, EVENT_READ, NO_HANDLES)
            except BaseException:
                zs_close(fd)
                raise
        else:
            code = epoll_add(self.epfd, fd)
            if code == EEXIST:
                # asyncio watches this descriptor for somebody else, as zmq.asyncio does
                fd = os.dup(fd)
                code = epoll_add(self.epfd, fd)
                if code:
                    zs_close(fd)
            if code:
                raise cannot_poll(source, code)
        source.watched = fd
        return 0

    cdef int unwatch(self, Source source) except -1:
        if self.epfd >= 0:
            # fails where the socket was closed behind our back: epoll has forgotten it by itself
            zs_epoll_remove(self.epfd, source.watched)
        elif self.poller != "epoll":
            try:
                self.selector.unregister(source.watched)
            except (KeyError, OSError):
                pass
        return 0

    cdef int wake(self) except -1:
        # only another thread finds us sleeping
        if zs_exchange(&self.sleeping, False):
            self.loop.call_soon_threadsafe(_nothing)
        return 0

    # -- the selector ---------------------------------------------------------------------------

    def select(self, timeout=None):
        """As `selectors.BaseSelector.select`; ZeroMQ sockets are dispatched meanwhile.

        Stays here, and spends nothing on asyncio, as long as neither its descriptors, its timers nor
        its queue of handles have anything for it.
        """
        cdef int64_t deadline = INT64_MAX
        self.begin()
        if timeout is not None:
            deadline = self.now + <int64_t> (max(<double> timeout, 0.0) * 1e9)
        self.remember_loop()
        try:
            return self.dispatch(deadline)
        finally:
            self.timers = self.timer_head = None

    cdef int run_hooked(self) except -1:
        """Poll and give turns until libuv has something to do."""
        self.begin()
        self.dispatch(self.hook.deadline(self.now))
        return 0

    cdef int begin(self) except -1:
        self.check()
        self.enter()
        self.sweeper.epoch += 1  # the loop ran handles
        self.now = zs_now()
        self.called = False
        return 0

    cdef list dispatch(self, int64_t deadline):
        """Poll and give turns until the loop has something to do. Returns what is fired of its own."""
        cdef list fired
        cdef Source outer = self.current
        self.current = None  # a loop inside a callback is a loop like any other
        try:
            self.start_next_pass()
            while True:
                if outer is not None:
                    self.dispatch_nested(outer)
                fired = self.poll_once(deadline)
                if zs_load(&self.has_posted):
                    self.enqueue_posted()
                if self.ready.first is not NULL:
                    self.run_pass()
                if fired is not None:
                    return fired
                if self.hook is not None:
                    deadline = self.hook.deadline(self.now)
                if self.called or self.now >= deadline or self.has_news():
                    return []
        finally:
            self.current = outer

    cdef list poll_once(self, int64_t deadline):
        """Poll, and sleep only if no source is ready and no edge can have been missed."""
        cdef double sweep_wait
        cdef list fired
        if zs_load(&self.has_posted):
            self.enqueue_posted()
        if self.sweeper.touched:
            self.sweeper.sweep_touched()
        if self.retrying and self.now >= self.retry_at:
            self.retry_all()
        sweep_wait = self.sweeper.wait(self.sources, self.now)
        if self.ready.first is not NULL or self.called or self.now >= deadline:
            fired = self.poll(0)
            # a busy loop never sleeps, and sweeps as often as a large one
            if sweep_wait >= 0 and self.sweeper.overdue(self.now):
                self.sweeper.sweep(self.sources, SWEEP_CHUNK)
            return fired
        if sweep_wait == 0:
            # A ping-pong of streams never sleeps, and then never pays for a sweep.
            fired = self.poll(0)
            if fired is not None or self.ready.first is not NULL:
                return fired
            self.sweeper.sweep(self.sources, SWEEP_CHUNK)
            if self.ready.first is not NULL or self.called:
                return None
            sweep_wait = self.sweeper.wait(self.sources, self.now)
        return self.poll(self.sleep_for(deadline, sweep_wait))

    cdef double sleep_for(self, int64_t deadline, double sweep_wait) noexcept:
        """How long to poll, in seconds: until asyncio's deadline, a sweep or a retry; -1: for ever."""
        cdef double wait = -1 if deadline == INT64_MAX else max(0, deadline - self.now) * 1e-9
        cdef double retry_wait = self.retry_wait()
        if sweep_wait >= 0 and (wait < 0 or sweep_wait < wait):
            wait = sweep_wait
        if retry_wait >= 0 and (wait < 0 or retry_wait < wait):
            wait = retry_wait
        return wait

    cdef list poll(self, double timeout):
        if self.on_poll is None:
            return self.poll_selected(timeout)
        # on_poll() is Python code, and a thread that sends meanwhile must wake us
        zs_store(&self.sleeping, timeout != 0)
        try:
            self.on_poll(True)
            return self.poll_selected(timeout)
        finally:
            zs_store(&self.sleeping, False)
            self.on_poll(False)

    cdef list poll_selected(self, double timeout):
        cdef list fired = None
        cdef Source source
        if self.epfd >= 0:
            return self.poll_epoll(timeout, self.keys)
        self.counts.polls += 1
        self.counts.sleeps += timeout != 0
        zs_store(&self.sleeping, timeout != 0)
        try:
            if zs_load(&self.has_posted):
                timeout = 0  # by a thread that found us awake
            events = self.base_select(None if timeout < 0 else timeout)
        finally:
            zs_store(&self.sleeping, False)
        self.now = zs_now()
        for key, mask in events:
            if key.data is NO_HANDLES:
                source = self.by_fd.get(key.fd)
                if source is not None:  # else another thread is in the middle of add()
                    source.maybe_readable = True
                    self.enqueue(source)
            else:
                if fired is None:
                    fired = []
                fired.append((key, mask))
        return fired

    cdef int remember_loop(self) except -1:
        if self.loop_ready is None:
            return 0
        self.timers = self.loop._scheduled
        self.timer_count = len(self.timers)
        self.timer_head = self.timers[0] if self.timer_count else None
        return 0

    cdef bint has_news(self) except -1:
        """Whether asyncio would do anything but come straight back with the same timeout."""
        if self.hook is not None:
            return False  # its deadline tells
        # While we poll, asyncio replaces its heap of timers only in a loop that runs inside a callback;
        # and that loop's select() has forgotten `timers` when it returned.
        if self.timers is None or len(self.loop_ready) or len(self.timers) != self.timer_count:
            return True
        if self.timer_count > 0 and self.timers[0] is not self.timer_head:
            return True
        return self.loop._stopping
