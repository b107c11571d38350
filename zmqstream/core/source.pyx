# A ZeroMQ socket that a reactor watches: what streams and IOLoop's handlers have in common.

from cpython.contextvars cimport PyContext_CopyCurrent, PyContext_Enter, PyContext_Exit


class NotCallableError(TypeError, AssertionError):
    """A callback is not callable. (An AssertionError too, because that is what pyzmq raises.)"""


cdef object check_callback(object callback, str where):
    if callback is not None and not callable(callback):
        raise NotCallableError(
            f"{where}: the callback must be callable or None, not {type(callback).__name__}: {callback!r}"
        )
    return callback


cdef object context_for(object callback):
    return None if callback is None else PyContext_CopyCurrent()


cdef object enter(object context):
    """Enter it, and return it."""
    PyContext_Enter(context)
    return context


cdef Socket origin_of(object socket):
    """The socket that is behind a shadow, or `socket` itself."""
    cdef object shadowed = getattr(socket, "_shadow_obj", None)
    while isinstance(shadowed, Socket) and shadowed is not socket:
        socket = shadowed
        shadowed = getattr(socket, "_shadow_obj", None)
    return socket


cdef int socket_fd(object socket) except -1:
    if not isinstance(socket, Socket):
        raise TypeError(f"a zmq.Socket is needed, not {type(socket).__name__}: {socket!r}")
    if socket.closed:
        raise zmq.ZMQError(ENOTSOCK, f"the socket is closed: {socket!r}")
    return socket.getsockopt(zmq.FD)


cdef class Source:
    def __cinit__(self, *args, **kwargs):
        self.state = CLOSED
        zs_count(ZS_SOURCES + <int> CLOSED, 1)
        self.fd = self.watched = -1
        self.index = -1
        self.listed = NULL

    def __dealloc__(self):
        zs_count(ZS_SOURCES + <int> self.state, -1)

    cdef int open_source(self, Socket socket, Socket origin, int fd, Reactor reactor) except -1:
        self.reactor = reactor
        self.sock = socket
        self.origin = origin
        self.fd = fd
        self.become(IDLE)
        try:
            reactor.add(self)
        except BaseException:
            self.become(CLOSED)
            self.sock = self.origin = None
            raise
        return 0

    cdef int wanted(self) noexcept:
        """POLLIN and POLLOUT, as far as their events would be used."""
        return 0

    cdef int still_wanted(self, int events) except -1:
        """wanted(), in view of `events`."""
        return self.wanted()

    cdef int turn(self) except -1:
        return self.leave()

    cdef int leave(self, bint drained=False) except -1:
        """settle(), and if a signal's handler raises meanwhile, be ready: the next turn will."""
        try:
            self.settle(drained)
        except BaseException:
            if self.state != CLOSED:
                self.reactor.enqueue_later(self)
            raise
        return 0

    cdef int set_retry(self, bint retry) except -1:
        self.reactor.retrying += retry - self.retry
        self.retry = retry
        return 0

    cdef int failed(self, int code) except -1:
        """libzmq refused a look at the socket with error `code`."""
        return 0

    cdef int orphan(self) except -1:
        """The loop was closed before the source."""
        self.become(IDLE)
        return 0

    cdef int suspect_raw_use(self) except -1:
        """Somebody may call libzmq on the socket and swallow an event: look, before the loop sleeps."""
        if self.index >= 0 and not self.suspect:
            self.suspect = True
            self.reactor.suspects.append(self)
            if self.reactor.sleeping:
                self.reactor.wake()
        return 0

    cdef int settle(self, bint drained=False) except -1:
        """The one door out of every operation: look at EVENTS, and be ready, armed or idle."""
        cdef int wanted, events
        if self.state == CLOSED:
            return 0
        events = self.read_events()
        if events < 0 or self.state == CLOSED:
            return 0
        wanted = self.still_wanted(events)
        if events & wanted & POLLIN:
            self.input_due = True
        if events & wanted:
            self.reactor.enqueue_later(self)
        else:
            self.become(ARMED if wanted else IDLE)
            self.reactor.unlink(self)
        return 0

    cdef int read_events(self) except -2:
        """ZMQ_EVENTS, which also makes libzmq process its mailbox; -1 if that failed."""
        cdef int events = 0, code
        cdef size_t size = sizeof(int)
        cdef void *handle
        while True:
            handle = self.handle()
            if handle is NULL:
                self.failed(ENOTSOCK)
                return -1
            if lib.getsockopt(handle, OPT_EVENTS, &events, &size) == 0:
                self.checked = self.reactor.epoch
                return events
            code = lib.last_error()
            if code != EINTR:
                self.failed(code)
                return -1
            PyErr_CheckSignals()
            self.reactor.check()
