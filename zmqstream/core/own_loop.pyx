# The reactor of our own loop, whose selector it is.

cdef object EVENT_READ = selectors.EVENT_READ


cdef int epoll_add(int epfd, int fd) noexcept:
    """Returns 0, or the error code."""
    return errno if zs_epoll_add(epfd, fd) < 0 else 0


cdef object cannot_poll(Source source, int code):
    return OSError(code, f"cannot poll {name_of(source)}: {os.strerror(code)}")


def _nothing():
    """What a loop is woken with."""


@cython.final
cdef class HomeReactor(Reactor):
    """The selector of our own EventLoop: `select()` also gives ZeroMQ sockets their turns."""

    def __init__(self, loop, selector, base_select, poller):
        self.loop = loop
        self.selector = selector
        self.base_select = base_select
        self.poller = poller
        self.keys = {}
        if poller == "epoll":
            self.epfd = selector.fileno()

    def bind_loop(self):
        """Learn how to see that asyncio has nothing to do: after the loop's own __init__."""
        # These names are private to BaseEventLoop, the same since Python 3.4. Where one is
        # missing, select() returns to asyncio after each pass, which is slower and as correct.
        loop = self.loop
        if hasattr(loop, "_ready") and hasattr(loop, "_stopping") and hasattr(loop, "_scheduled"):
            self.loop_ready = loop._ready

    def step_aside(self, int fd):
        """asyncio is to watch `fd`: a source that does watches a duplicate from now on."""
        cdef Source source
        cdef int duplicate, code
        if self.epfd < 0 or not 0 <= fd < self.by_fd_size or self.by_fd[fd] is NULL:
            return
        source = <Source> self.by_fd[fd]
        if source.handle() is NULL:
            source.failed(ENOTSOCK)  # closed directly, and the number is in use again
        elif source.watched == fd:
            duplicate = os.dup(fd)
            try:
                self.map_fd(source, duplicate)
                code = epoll_add(self.epfd, duplicate)
                if code:
                    raise cannot_poll(source, code)
            except BaseException:
                self.unmap_fd(source, duplicate)
                zs_close(duplicate)
                raise
            zs_epoll_remove(self.epfd, fd)
            source.watched = duplicate
            source.input_due = True
            self.enqueue(source)

    def close(self):
        """Let go of all sources; the loop is being closed."""
        if self.on_poll is not None:
            self.on_poll(None)
            self.on_poll = None
        self.close_sources()
        self.epfd = -1

    cdef int watch(self, Source source) except -1:
        cdef int fd = source.fd, code = 0
        if self.poller != "epoll":
            # always our own descriptor: asyncio may come to watch the other one at any time
            fd = os.dup(fd)
            try:
                self.selector.register(fd, EVENT_READ, source)
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
        self.sleeping = False
        try:
            self.loop.call_soon_threadsafe(_nothing)
        except BaseException:
            self.sleeping = True
            raise
        return 0

    def select(self, timeout=None):
        """As `selectors.BaseSelector.select`; ZeroMQ sockets are dispatched meanwhile.

        Stays here, and spends nothing on asyncio, as long as neither its descriptors, its timers
        nor its queue of handles have anything for it.
        """
        cdef double wait = -1
        cdef int64_t deadline = INT64_MAX
        cdef list fired
        cdef Source outer = self.current
        self.check()
        self.epoch += 1  # asyncio ran handles
        self.now = zs_now()
        if timeout is not None:
            wait = timeout
            deadline = self.now + <int64_t> (max(wait, 0.0) * 1e9)
        self.called = False
        self.remember_loop()
        self.current = None  # a loop inside a callback is a loop like any other
        try:
            self.later_to_ready()
            while True:
                if outer is not None:
                    self.serve(outer)
                fired = self.poll_once(deadline)
                if self.ready.first is not NULL:
                    self.run_pass()
                if fired is not None:
                    return fired
                if self.called or self.now >= deadline or not self.nothing_changed():
                    return []
        finally:
            self.current = outer
            self.timers = self.timer_head = None

    cdef list poll_once(self, int64_t deadline):
        """Poll, and sleep only if nobody is ready and no edge can have been missed."""
        cdef double wait, due
        cdef list fired = None
        if self.suspects:
            self.sweep_suspects()
        if self.retrying and self.now >= self.retry_at:
            self.retry_all()
        due = self.sweep_wait()
        if self.ready.first is not NULL or self.called or self.now >= deadline:
            fired = self.poll(0)
            # a busy loop never sleeps, and sweeps as often as a large one
            if due >= 0 and self.now >= self.swept_at + SWEEP_NS:
                self.sweep()
            return fired
        if due == 0:
            fired = self.poll(0)
            if fired is not None or self.ready.first is not NULL:
                return fired
            self.sweep()
            if self.ready.first is not NULL or self.called:
                return None
            due = self.sweep_wait()
        wait = -1 if deadline == INT64_MAX else max(0, deadline - self.now) * 1e-9
        if due >= 0 and (wait < 0 or due < wait):
            wait = due
        due = self.retry_wait()
        if due >= 0 and (wait < 0 or due < wait):
            wait = due
        return self.poll(wait)

    cdef list poll(self, double timeout):
        if self.on_poll is None:
            return self.poll_selected(timeout)
        self.sleeping = timeout != 0  # it is Python code, and a thread that sends meanwhile must wake us
        try:
            self.on_poll(True)
            return self.poll_selected(timeout)
        finally:
            self.sleeping = False
            self.on_poll(False)

    cdef list poll_selected(self, double timeout):
        cdef list fired = None
        if self.epfd >= 0:
            return self.poll_epoll(timeout, self.keys)
        self.polls += 1
        self.sleeps += timeout != 0
        self.sleeping = timeout != 0
        try:
            events = self.base_select(None if timeout < 0 else timeout)
        finally:
            self.sleeping = False
        self.now = zs_now()
        for key, mask in events:
            if isinstance(key.data, Source):
                (<Source> key.data).input_due = True
                self.enqueue(<Source> key.data)
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

    cdef bint nothing_changed(self) except -1:
        """Whether asyncio would come straight back with the same timeout."""
        if self.loop_ready is None or len(self.loop_ready) or self.loop._stopping:
            return False
        timers = self.loop._scheduled
        if timers is not self.timers or len(timers) != self.timer_count:
            return False
        return self.timer_count == 0 or timers[0] is self.timer_head
