# IOLoop.add_handler() for a ZeroMQ socket.


@cython.final
cdef class SocketHandler(Source):
    """Calls `callback(socket, events)` as long as the socket has events of the mask."""

    def __init__(self, socket, Reactor reactor, callback, int mask):
        cdef int fd = socket_fd(socket)
        self.py_socket = socket
        self.callback = callback
        self.context = PyContext_CopyCurrent()
        self.open_source(socket, origin_of(socket), fd, reactor)
        try:
            self.update(mask)
        except BaseException:
            self.close()
            raise

    def __repr__(self):
        return f"<handler of {self.py_socket!r}>"

    def update(self, int mask):
        """Ask for other events: zmq.POLLIN and zmq.POLLOUT."""
        if self.state == CLOSED:
            self.reactor.check()
            raise zmq_error(ENOTSOCK)
        self.mask = mask
        self.reactor.enqueue(self)

    def close(self):
        """End it; the socket stays open."""
        self.become(CLOSED)
        self.reactor.remove(self)
        self.sock = self.origin = None

    cdef int wanted(self) noexcept:
        return self.mask

    cdef int turn(self) except -1:
        cdef int events
        try:
            events = self.read_events()
            if self.state != CLOSED and events > 0 and events & self.mask:
                self.reactor.epoch += 1
                self.context.copy().run(self.callback, self.py_socket, events & self.mask)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # IOLoop has reported its user's: this is IOLoop's own
            report(self.reactor.loop, "a handler", self, self.callback, error)
        finally:
            self.leave()
        return 0

    cdef int failed(self, int code) except -1:
        error = zmq_error(code)
        self.close()
        if code != ETERM:
            report(self.reactor.loop, "poll", self, self.callback, error)
        return 0

    cdef int orphan(self) except -1:
        self.become(CLOSED)
        return 0
