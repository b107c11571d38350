# The reactor's two homes: our own loop, whose selector it is, and anybody else's, where it is a
# guest with one reader.

cdef object EVENT_READ = selectors.EVENT_READ


cdef object no_readers(loop):
    return TypeError(
        f"streams need a loop with add_reader(), and this one has none: {loop!r}; use zmqstream.run(), "
        "or asyncio.SelectorEventLoop"
    )


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

    cdef int end_hold(self) except -1:
        return 0  # asyncio comes back to select() now

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
        self.grow_old()
        self.remember_loop()
        self.current = None  # a loop inside a callback is a loop like any other
        try:
            self.later_to_ready()
            while True:
                if outer is not None:
                    self.serve(outer)
                if not self.holding:
                    self.iteration += 1
                fired = self.poll_once(deadline)
                if self.ready.first is not NULL:
                    self.run_pass()
                if fired is not None:
                    return fired
                if self.called or self.now >= deadline or not self.nothing_changed():
                    return []
        except BaseException:
            self.held_for = 0  # the loop is left, and has not run what ends a hold
            raise
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


@cython.final
cdef class GuestReactor(Reactor):
    """On a loop that is not ours: asyncio's own, uvloop, Tornado's.

    An epoll descriptor can itself be polled: the loop gets it as its one reader, however many
    streams there are. Where there is no epoll, every stream is a reader of its own.
    """

    def __init__(self, loop, poller):
        self.loop = loop
        self.poller = poller
        self.sleeping = True
        self.timers = []

    def __dealloc__(self):
        if self.epfd >= 0:
            zs_close(self.epfd)

    cdef int attach(self) except -1:
        if self.attached:
            return 0
        if self.loop.is_closed():
            raise RuntimeError("the event loop of this stream is closed")
        if self.poller == "epoll":
            self.epfd = zs_epoll_create()
            if self.epfd < 0:
                raise OSError(errno, f"cannot make an epoll descriptor: {os.strerror(errno)}")
            try:
                self.loop.add_reader(self.epfd, self._on_readable)
            except BaseException as error:
                zs_close(self.epfd)
                self.epfd = -1
                if isinstance(error, NotImplementedError):
                    raise no_readers(self.loop) from None
                raise
        self.attached = True
        try:
            self.timers = [None, None]
            self.start_timer(0, SWEEP_NS)
            self.start_timer(1, 2 * SWEEP_NS)
        except BaseException:
            self.detach()
            raise
        return 0

    cdef int detach(self) except -1:
        """The last stream has gone: leave no trace in the loop."""
        if not self.attached:
            return 0
        if self.epfd >= 0:
            if self.generation == fork_generation and not self.loop.is_closed():
                self.loop.remove_reader(self.epfd)  # if memory is short, _on_timer() tries again
            zs_close(self.epfd)
            self.epfd = -1
        self.attached = False
        return self.stop_timers()

    cdef int start_timer(self, int which, int64_t wait) except -1:
        """Two timers take turns: should the loop lose one, for want of memory, the other sees it."""
        self.timers[which] = self.loop.call_later(wait * 1e-9, self._on_timer, which)
        self.due[which] = zs_now() + wait
        return 0

    cdef int stop_timers(self) except -1:
        while self.timers:
            timer = self.timers.pop()
            if timer is not None:
                timer.cancel()
        return 0

    cdef int watch(self, Source source) except -1:
        cdef int fd = source.fd, code
        self.attach()
        if self.poller == "epoll":
            code = epoll_add(self.epfd, fd)
            if code:
                raise cannot_poll(source, code)
        else:
            # our own descriptor: add_reader() would replace somebody else's reader of it
            fd = os.dup(fd)
            try:
                self.loop.add_reader(fd, self._on_source, source)
            except BaseException as error:
                zs_close(fd)
                if isinstance(error, NotImplementedError):
                    raise no_readers(self.loop) from None
                raise
        source.watched = fd
        return 0

    cdef int unwatch(self, Source source) except -1:
        if self.poller == "epoll":
            zs_epoll_remove(self.epfd, source.watched)
        elif not self.loop.is_closed():
            self.loop.remove_reader(source.watched)
        return 0

    cdef int emptied(self) except -1:
        return self.detach()

    cdef int check_loop(self) except -1:
        if self.loop.is_closed():
            self.close_sources()
        return 0

    cdef int wake(self) except -1:
        """Have dispatch() called soon, once, however many sources become ready until then."""
        self.check_loop()
        if self.generation == fork_generation:
            self.sleeping = False  # first: the loop's thread may run _on_call() before we go on
            try:
                self.asked += 1
                self.call_soon(self._on_call, (self.asked,))
            except BaseException:
                self.sleeping = True
                raise
        return 0

    def _on_readable(self):
        if not self.end_in_child():
            self.dispatch()

    def _on_source(self, Source source):
        if self.end_in_child():
            return
        source.input_due = True
        self.enqueue(source)
        self.dispatch()

    def _on_call(self, int64_t asked):
        if asked != self.asked:
            return  # given up for lost, and asked for again
        self.answered = asked
        self.sleeping = True
        self.dispatch()

    cdef int end_hold(self) except -1:
        return self.dispatch()

    cdef bint end_in_child(self) except -1:
        """The parent's loop runs in a forked child, and a descriptor is readable: end the loop.

        It stays readable until the parent looks, and is not ours to take out of the epoll set,
        which is the parent's too: the child would spin.
        """
        if not self.told_in_child():
            return False
        self.loop.stop()
        return True

    cdef bint told_in_child(self) except -1:
        """Whether this is a forked child: then that is reported."""
        if self.generation == fork_generation:
            return False
        try:
            self.check()
        except RuntimeError as error:
            self.loop.call_exception_handler(
                {"message": "the streams of this event loop are not usable", "exception": error})
        return True

    def _on_timer(self, int which):
        cdef int other = 1 - which
        cdef int64_t pace = RETRY_NS if self.retrying else SWEEP_NS
        cdef int64_t wait = self.due[other] - zs_now()  # for the other one
        # else it is lost, or late, or was to come at the slower pace
        cdef bint under_way = 0 < wait <= pace + pace // 8
        if self.told_in_child():
            self.stop_timers()
        if not self.timers:
            return
        # User code anywhere in this loop may have touched raw sockets, and it cannot be known
        # whether it did: look at the pace of SWEEP_NS for as long as there are streams.
        self.start_timer(which, (wait if under_way else pace) + pace)
        if not self.sources:
            self.detach()
            return
        if not under_way:
            self.timers[other].cancel()
            self.start_timer(other, pace)
        self.epoch += 1
        # A loop that ran out of memory may have lost our call, or that of a hold. One that was asked
        # for before the last timer has been answered by now.
        if self.answered < self.asked_then:
            self.sleeping = True
        self.asked_then = self.asked
        self.grow_old()
        self.sweep()
        while self.cursor:
            self.sweep()
        if self.retrying:
            self.now = zs_now()
            self.retry_all()
        if self.ready.first is not NULL or self.current is not None:  # it runs inside a callback
            self.dispatch()

    cdef int dispatch(self) except -1:
        """Poll without waiting, give turns, and have the rest called soon."""
        cdef bint call_pending = not self.sleeping
        if self.generation != fork_generation or not self.attached:
            return 0
        if not self.holding:
            self.iteration += 1
        self.epoch += 1  # the loop ran other handles
        self.sleeping = False
        try:
            if self.epfd >= 0:
                self.poll_epoll(0, None)
            self.serve(self.current)
            if self.suspects:
                self.sweep_suspects()
            if self.ready.first is not NULL:
                self.run_pass()
        finally:
            if not call_pending:
                self.sleeping = True
                if (self.ready.first is not NULL or self.suspects) and self.attached:
                    self.wake()
        return 0
