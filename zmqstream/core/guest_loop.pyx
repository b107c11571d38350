# The reactor of somebody else's loop, where it is a guest with one reader.

cdef object no_readers(loop):
    return TypeError(
        f"streams need a loop with add_reader(), and this one has none: {loop!r}; use zmqstream.run(), "
        "or asyncio.SelectorEventLoop"
    )


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
        # A loop that ran out of memory may have lost our call. One that was asked
        # for before the last timer has been answered by now.
        if self.answered < self.asked_then:
            self.sleeping = True
        self.asked_then = self.asked
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
