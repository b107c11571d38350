# The hook that makes a loop of uvloop's ours.
#
# A loop of uvloop's has no selector that could be replaced. But libuv, which it runs on, is made to be
# embedded in other loops: its backend descriptor can be polled, and it tells for how long it would
# sleep. And it calls a prepare handle once in each iteration, after user code and before its own poll.
# There the reactor polls, with a selector that holds libuv's backend descriptor, and gives turns until
# libuv has something to do. Then libuv polls without sleeping, because an idle handle is active.
#
# Both handles are created, used and closed in the thread of the loop, and closed before the loop is:
# when uvloop closes a loop, it takes all of its handles for its own.

cdef enum:
    UV_IDLE = 6     # of libuv's uv_handle_type, the same in all versions 1.x
    UV_PREPARE = 9
    HEADER = 2      # pointers before a prepare handle: its UvHook, borrowed, or NULL; and nothing

cdef LibUv uv
cdef str uv_path = None  # of the library of these functions
cdef object attaching = threading.RLock()  # a thread may make a stream while the loop loses its last one


cdef bint bind_libuv(str path):
    """Whether all functions were found in the library at `path`, which is loaded."""
    global uv, uv_path
    cdef LibUv found
    cdef bytes encoded = path.encode("utf-8", "surrogateescape")
    cdef void *library = zs_library_open(encoded)
    cdef void **function = <void **> &found
    cdef list names = [
        b"version", b"handle_size", b"backend_fd", b"backend_timeout", b"update_time", b"unref",
        b"close", b"prepare_init", b"prepare_start", b"idle_init", b"idle_start", b"idle_stop",
    ]  # in the order of LibUv
    if path == uv_path:  # loops of other threads use them
        return True
    for name in names if library is not NULL else []:
        function[0] = zs_library_symbol(library, b"uv_" + <bytes> name)
        if function[0] is NULL:
            return False
        function += 1
    if library is NULL or found.version() >> 16 != 1:
        return False
    uv = found
    uv_path = path
    return True


cdef void _on_prepare(void *handle) noexcept with gil:
    cdef UvHook hook = <UvHook> (<void **> handle)[-HEADER]  # kept alive while it runs
    hook.run()


cdef void _on_idle(void *handle) noexcept nogil:
    uv.idle_stop(handle)  # before the reactor asks how long libuv would sleep


cdef void _on_prepare_closed(void *handle) noexcept nogil:
    PyMem_RawFree(<void **> handle - HEADER)


cdef void _on_idle_closed(void *handle) noexcept nogil:
    PyMem_RawFree(handle)


def _raise(error):
    raise error


@cython.final
cdef class UvHook:
    """Runs a reactor before each poll of a loop of uvloop's."""

    def __init__(self, loop, module):
        """`module` is the extension module of uvloop. Raises LookupError if a function is missing."""
        if not bind_libuv(module.__file__):
            raise LookupError(f"not all functions of libuv 1 were found in {module.__file__}")
        self.loop = loop
        self.uv_loop = PyCapsule_GetPointer(module.libuv_get_loop_t_ptr(loop), NULL)

    def __dealloc__(self):
        if self.prepare is not NULL:  # of a loop that nobody closed, and that will not run again
            self.prepare[-HEADER] = NULL

    def fileno(self):
        """libuv's backend descriptor."""
        return uv.backend_fd(self.uv_loop)

    cdef int attach(self, OwnLoopReactor reactor) except -1:
        """The reactor has a source: run it before each poll."""
        with attaching:
            if self.reactor is not None:
                return 0
            if self.loop.is_closed():
                raise RuntimeError("the event loop of this stream is closed")
            self.reactor = reactor
            self.close_loop = self.loop.close
            try:
                self.loop.close = self.close
                selector = selectors.DefaultSelector()
                reactor.use(selector, selector.select)
                selector.register(self, EVENT_READ)
                if self.loop.is_running() and asyncio._get_running_loop() is not self.loop:
                    self.loop.call_soon_threadsafe(self.start)
                else:
                    self.start()
            except BaseException:
                self.stop()
                raise
        return 0

    def start(self):
        """In the thread of the loop."""
        # zeros: uvloop crashes when it finds a handle whose `data` is neither NULL nor its own
        cdef void **prepare = <void **> PyMem_RawCalloc(
            1, HEADER * sizeof(void *) + uv.handle_size(UV_PREPARE))
        cdef void *idle = PyMem_RawCalloc(1, uv.handle_size(UV_IDLE))
        if prepare is NULL or idle is NULL:
            PyMem_RawFree(prepare)
            PyMem_RawFree(idle)
            raise MemoryError("no memory for a handle of libuv")
        prepare += HEADER
        prepare[-HEADER] = <void *> self
        uv.prepare_init(self.uv_loop, prepare)
        uv.idle_init(self.uv_loop, idle)
        uv.unref(prepare)
        uv.unref(idle)
        uv.prepare_start(prepare, <void (*)(void *) noexcept nogil> _on_prepare)
        self.prepare = prepare
        self.idle = idle

    cdef int stop(self) except -1:
        """Leave nothing in the loop."""
        cdef OwnLoopReactor reactor
        with attaching:
            reactor, self.reactor = self.reactor, None
            self.close_loop = None
            if self.prepare is not NULL:
                uv.close(self.prepare, _on_prepare_closed)
                uv.close(self.idle, _on_idle_closed)
                self.prepare = NULL
                self.idle = NULL
            if vars(self.loop).get("close") == self.close:
                del self.loop.close
            if reactor.selector is not None:
                reactor.selector.close()
            reactor.use(None, None)
        return 0

    cdef int stop_if_unused(self) except -1:
        """Leave nothing in the loop, unless another thread has just made a stream."""
        with attaching:
            if not self.reactor.sources:
                self.stop()
        return 0

    def close(self):
        """What the loop has for its `close()`, while it is hooked."""
        close_loop = self.close_loop
        if not self.loop.is_running():  # else uvloop refuses
            selector = self.reactor.selector
            self.reactor.close()
            selector.close()
            self.stop()
        close_loop()

    cdef int64_t deadline(self, int64_t now) noexcept:
        """When libuv has something to do: `now`, a time, or INT64_MAX."""
        cdef int milliseconds
        uv.update_time(self.uv_loop)
        milliseconds = uv.backend_timeout(self.uv_loop)
        return INT64_MAX if milliseconds < 0 else now + milliseconds * <int64_t> 1_000_000

    cdef int run(self) noexcept:
        """libuv is about to poll."""
        try:
            if self.reactor.sources:
                self.reactor.run_hooked()
            else:
                self.stop_if_unused()
        except BaseException as error:
            self.report(error)
        if self.prepare is not NULL:
            uv.update_time(self.uv_loop)
            uv.idle_start(self.idle, _on_idle)
        return 0

    cdef int report(self, object error) except -1:
        """As uvloop does with an exception of a callback."""
        if isinstance(error, (KeyboardInterrupt, SystemExit)):
            self.loop.call_soon(_raise, error)  # ends the loop
            return 0
        self.loop.call_exception_handler(
            {"message": "the streams of this event loop failed", "exception": error})
        if self.reactor.state == LOOP_FORKED:
            self.loop.stop()
            self.stop()
        return 0
