# Which thread is which: the one that runs a loop, and the one that owns a stream. The rules for Pythons
# without the GIL are in threads.pxd.

cdef extern from "running_loop.h":
    PyObject *zs_running_loop(object key) noexcept

cdef str RUNNING_LOOP = "__asyncio_running_event_loop__"


cdef bint runs_here(Reactor self) except -1:
    """Whether this thread runs the loop now."""
    return (
        zs_running_loop(RUNNING_LOOP) is <PyObject *> self.loop
        or asyncio._get_running_loop() is self.loop
    )


cdef bint runs_elsewhere(Reactor self) except -1:
    """Whether another thread runs the loop now."""
    return self.loop.is_running() and not runs_here(self)


cdef object wrong_thread(str what):
    return RuntimeError(
        f"{what} was used in thread {threading.current_thread().name!r}, and its loop runs in another; "
        "only send and its like may be: use loop.call_soon_threadsafe(), or add_callback() of an IOLoop"
    )


cdef inline bint owns(Stream self) noexcept:
    """Whether this thread runs the loop; before a loop runs, whether it made the first stream there."""
    return zs_load_thread(&self.reactor.thread) == zs_thread()


cdef inline bint owned_elsewhere(Stream self) noexcept:
    """Whether another thread owns the stream; with the GIL, where that does no harm here, False.

    While user code runs in a send, the loop may begin to run in another thread.
    """
    return zs_free_threaded and not owns(self)


cdef bint is_elsewhere(Stream self) except -1:
    """Whether another thread may do anything to the stream at this moment."""
    return zs_free_threaded and self.reactor is not None and runs_elsewhere(self.reactor)


cdef int check_thread(Stream self, str method) except -1:
    """In debug mode, and without the GIL: a running loop must run in this thread."""
    if (zs_free_threaded or self.runner.debug) and self.state != FORKED:
        if runs_elsewhere(self.reactor):
            raise wrong_thread(f"{type(self).__name__}.{method}")
    return 0
