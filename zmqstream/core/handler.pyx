# IOLoop.add_handler() for a ZeroMQ socket.


@cython.final
cdef class SocketHandler(Source):
    """Calls `callback(socket, events)` as long as the socket has events of the mask."""

    def __init__(self, socket, Reactor reactor, callback, int mask):
        cdef int fd = socket_fd(socket)
        self.reactor = reactor
        self.check_thread()
        self.py_socket = socket
        self.callback = Callback("a handler", callback)
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
        self.check_thread()
        if self.state >= CLOSED:
            self.reactor.check()
            raise zmq_error(ENOTSOCK)
        self.mask = mask
        self.reactor.enqueue(self)

    def close(self):
        """Stop watching. The socket stays open."""
        self.check_thread()
        become(self, CLOSED)
        self.reactor.remove(self)
        self.release_socket()

    cdef int check_thread(self) except -1:
        """Without the GIL: a running loop must run in this thread."""
        if zs_free_threaded and self.state != FORKED and runs_elsewhere(self.reactor):
            raise wrong_thread("a handler of a socket")
        return 0

    cdef int turn(self) except -1:
        cdef int events
        try:
            events = self.read_events()
            if self.state < CLOSED and events & self.mask:
                self.reactor.sweeper.epoch += 1
                self.callback.context.copy().run(
                    self.callback.function, self.py_socket, events & self.mask)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # IOLoop has reported the user's exceptions: this one is IOLoop's own
            report(self.reactor.loop, self.callback.what, self, self.callback.function, error)
        finally:
            self.finish(LOOK)
        return 0

    cdef int interest(self) noexcept:
        return self.mask

    cdef int on_socket_error(self, int code) except -1:
        cdef object error = zmq_error(code)
        self.close()
        if code != ETERM:
            report(self.reactor.loop, "poll", self, self.callback.function, error)
        return 0

    cdef int on_loop_closed(self) except -1:
        become(self, CLOSED)
        return 0
