# The reactor of a loop that cannot be made ours: there it is a guest.
#
# An epoll descriptor can itself be polled: the loop gets it as its one reader, however many sources
# there are. Where there is no epoll, every source is a reader of its own.
#
# - A guest has at most one callback scheduled on its loop.
# - The loop may run inside a callback, as with nest_asyncio. A reader can be called again there only if
#   its context is not entered, so a pass leaves that context. And who becomes ready wakes the loop even
#   during a pass, once a loop is known to do so; before, it waits for the timer.
# - User code anywhere on this loop may have touched raw sockets, and a guest cannot know whether it
#   did. So it sweeps by a timer, once in SWEEP_NS, for as long as there are sources.

cdef object no_readers(loop):
    return TypeError(
        f"streams need a loop with add_reader(), and this one has none: {loop!r}; use zmqstream.run(), "
        "or asyncio.SelectorEventLoop"
    )


@cython.final
cdef class GuestReactor(Reactor):
    """Gives ZeroMQ sockets their turns in callbacks of a loop that is not ours."""

    def __init__(self, loop, poller):
        self.loop = loop
        self.poller = poller
        self.kind = "guest"
        self.is_guest = self.sleeping = True

    def __dealloc__(self):
        if self.epfd >= 0:
            zs_close(self.epfd)

    cdef int attach(self) except -1:
        """Watch the loop's sources, from the first one on."""
        if self.attached:
            return 0
        if self.loop.is_closed():
            raise RuntimeError("the event loop of this stream is closed")
        if self.poller == "epoll":
            self.epfd = zs_epoll_create()
            if self.epfd < 0:
                raise OSError(errno, f"cannot make an epoll descriptor: {os.strerror(errno)}")
        self.attached = True
        try:
            if self.epfd >= 0:
                self.loop.add_reader(self.epfd, self._on_readable)
            self.start_timer()
        except BaseException as error:
            self.detach()
            if isinstance(error, NotImplementedError):
                raise no_readers(self.loop) from None
            raise
        return 0

    cdef int detach(self) except -1:
        """The last source has gone: leave nothing in the loop."""
        if not self.attached:
            return 0
        self.attached = False
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.epfd >= 0:
            try:
                if self.state == LOOP_OPEN and not self.loop.is_closed():
                    self.loop.remove_reader(self.epfd)
            except NotImplementedError:
                pass  # a loop that has none: attach() failed
            zs_close(self.epfd)
            self.epfd = -1
        return 0

    cdef int start_timer(self) except -1:
        self.timer = self.loop.call_later(
            (RETRY_NS if self.retrying else SWEEP_NS) * 1e-9, self._on_timer)
        return 0

    # -- the hooks of a reactor -----------------------------------------------------------------

    cdef int watch(self, Source source) except -1:
        cdef int fd = source.fd, code
        self.attach()
        if self.poller == "epoll":
            code = epoll_add(self.epfd, fd)
            if code:
                raise cannot_poll(source, code)
        else:
            # a descriptor of our own: add_reader() would replace somebody else's reader of it
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

    cdef int on_empty(self) except -1:
        return self.detach()

    cdef int check_loop(self) except -1:
        if self.loop.is_closed():
            if zs_load_thread(&self.thread) != zs_thread():
                raise RuntimeError("the event loop of this stream is closed")
            self.close_sources()
        return 0

    cdef int wake(self) except -1:
        """Have dispatch() called soon, once, however many sources become ready until then."""
        if not is_open(self) or self.loop.is_closed():
            return 0
        if zs_exchange(&self.scheduled, True):  # first: the loop's thread may run _on_call() at once
            return 0
        try:
            self.call_soon(self._on_call, ())
        except BaseException:
            zs_store(&self.scheduled, False)
            raise
        return 0

    # -- what the loop calls --------------------------------------------------------------------

    def _on_readable(self):
        if not self.end_in_child():
            self.reported = True
            self.dispatch()

    def _on_source(self, Source source):
        if not self.end_in_child():
            source.maybe_readable = True
            self.enqueue(source)
            self.dispatch()

    def _on_call(self):
        zs_store(&self.scheduled, False)
        self.dispatch()

    def _on_timer(self):
        self.timer = None
        if self.report_fork():
            return
        self.enter()
        self.sweeper.epoch += 1
        self.now = zs_now()
        self.start_timer()  # before user code runs
        self.sweeper.sweep(self.sources, PY_SSIZE_T_MAX)
        if self.retrying:
            self.retry_all()
        if self.ready.first is not NULL or self.current is not None:  # it runs inside a callback
            self.dispatch()

    cdef bint end_in_child(self) except -1:
        """The parent's loop runs in a forked child, and a descriptor is readable: end the loop.

        It stays readable until the parent looks, and is not ours to take out of the epoll set, which is
        the parent's too: the child would spin.
        """
        if not self.report_fork():
            return False
        self.loop.stop()
        return True

    cdef bint report_fork(self) except -1:
        """Whether this is a forked child: then that is reported."""
        if self.state != LOOP_FORKED:
            return False
        self.loop.call_exception_handler(
            {"message": "the streams of this event loop are not usable", "exception": forked_error()})
        return True

    cdef int dispatch(self) except -1:
        """Poll without waiting, give turns, and have the rest called soon."""
        cdef bint reported = self.reported
        cdef Source outer = self.current
        self.reported = False
        if self.state != LOOP_OPEN or not self.attached:
            return 0
        self.enter()
        self.sweeper.epoch += 1  # the loop ran other handles
        self.nests = self.nests or outer is not None
        zs_store(&self.sleeping, self.nests)
        self.current = None  # a loop inside a callback is a loop like any other
        try:
            self.start_next_pass()
            if self.epfd >= 0:
                self.poll_epoll(0, None)
            if reported and self.ready.first is NULL:
                # other code has swallowed the event since the loop polled
                self.sweeper.sweep(self.sources, PY_SSIZE_T_MAX)
            self.enqueue_posted()
            self.dispatch_nested(outer)
            self.sweeper.sweep_touched()
            if self.ready.first is not NULL:
                self.run_pass_outside()
        finally:
            self.current = outer
            zs_store(&self.sleeping, True)
            if self.attached and (
                self.ready.first is not NULL or self.sweeper.touched or zs_load(&self.has_posted)
            ):
                self.wake()
        return 0

    cdef int run_pass_outside(self) except -1:
        """Run a pass outside of the context in which the loop has called us."""
        cdef PyObject *entered = zs_context()
        cdef object context
        if is_too_deep():
            self.loop.stop()  # the innermost of its runs: run_pass() raises
        if entered is NULL:
            return self.run_pass()
        context = <object> entered
        PyContext_Exit(context)
        try:
            return self.run_pass()
        finally:
            PyContext_Enter(context)
