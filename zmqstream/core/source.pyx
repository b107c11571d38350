# A ZeroMQ socket that a reactor watches: what streams and IOLoop's handlers have in common.
#
# Between two operations a source is in exactly one State, and every operation leaves it by finish().


cdef Socket origin_of(object socket):
    """The socket that is behind a shadow, or `socket` itself."""
    cdef object shadowed = getattr(socket, "_shadow_obj", None)
    while isinstance(shadowed, Socket) and shadowed is not socket:
        socket = shadowed
        shadowed = getattr(socket, "_shadow_obj", None)
    return socket


# libzmq's draft types whose sockets several threads may use. Their ZMQ_FD, once readable, stays so.
THREAD_SAFE_TYPES = {
    12: "SERVER", 13: "CLIENT", 14: "RADIO", 15: "DISH", 16: "GATHER", 17: "SCATTER", 19: "PEER",
    20: "CHANNEL",
}


cdef int socket_fd(object socket) except -1:
    """The ZMQ_FD of an open socket."""
    if not isinstance(socket, Socket):
        raise TypeError(f"a zmq.Socket is needed, not {type(socket).__name__}: {socket!r}")
    if socket.closed:
        raise zmq.ZMQError(ENOTSOCK, f"the socket is closed: {socket!r}")
    if socket.getsockopt(zmq.TYPE) in THREAD_SAFE_TYPES:
        raise ValueError(
            f"a socket of the draft type {THREAD_SAFE_TYPES[socket.getsockopt(zmq.TYPE)]} cannot be "
            f"watched, because its descriptor stays readable: {socket!r}")
    return socket.getsockopt(zmq.FD)


cdef class Source:
    def __cinit__(self, *args, **kwargs):
        self.state = CLOSED
        zs_count(ZS_SOURCES + <int> CLOSED, 1)
        self.fd = self.watched = -1
        self.index = -1

    def __dealloc__(self):
        zs_count(ZS_SOURCES + <int> self.state, -1)

    # -- hooks ----------------------------------------------------------------------------------

    cdef int turn(self) except -1:
        """Do what there is to do, within a turn's budget."""
        raise NotImplementedError

    cdef int interest(self) noexcept:
        """POLLIN and POLLOUT, as far as their events would be used."""
        return 0

    cdef int effective_interest(self, int events) except -1:
        """interest(), less what `events` prove to mean nothing."""
        return self.interest()

    cdef bint has_work(self) noexcept:
        """Whether there is something to do that no event will tell of."""
        return False

    cdef int after_operation(self) except -1:
        """An operation has ended, and the source is idle, armed or ready."""
        return 0

    cdef int on_socket_error(self, int code) except -1:
        """libzmq refuses the socket with error `code`."""
        raise NotImplementedError

    cdef int on_loop_closed(self) except -1:
        """The loop was closed first: the source is not watched any more."""
        raise NotImplementedError

    cdef int on_fork(self) except -1:
        """This is a child process, and the source belongs to the parent."""
        become(self, FORKED)
        return 0

    cdef int on_missed_event(self) except -1:
        """A sweep has found an event that no poll had told of."""
        self.repaired += 1
        return 0

    # -- its socket, in any thread --------------------------------------------------------------

    cdef bint has_socket(self) noexcept:
        """Whether it has a socket that nobody has closed."""
        with cython.critical_section(self):
            return self.handle() is not NULL

    cdef int release_socket(self) except -1:
        """The source is closed."""
        with cython.critical_section(self):
            self.sock = self.origin = None
        return 0

    # -- operations -----------------------------------------------------------------------------

    cdef int open_source(self, Socket socket, Socket origin, int fd, Reactor reactor) except -1:
        self.reactor = reactor
        self.sock = socket
        self.origin = origin
        self.fd = fd
        become(self, IDLE)
        try:
            reactor.add(self)
        except BaseException:
            become(self, CLOSED)
            self.release_socket()
            raise
        return 0

    cdef int finish(self, Ending ending) except -1:
        """The only way out of an operation: leaves the source idle, armed or ready."""
        if self.state >= CLOSED or self.index < 0:
            return 0
        try:
            if self.running == 0:
                self.rest(ending)
            # also while the loop runs inside a callback, where somebody may wait for it
            if self.state < CLOSED:
                self.after_operation()
        except BaseException:  # a signal handler's: the next turn will look
            if self.state < CLOSED:
                self.reactor.enqueue_next_pass(self)
            raise
        return 0

    cdef int rest(self, Ending ending) except -1:
        """Become idle, armed or ready. No operation is under way."""
        cdef int events, interest = self.interest()
        if ending == MORE:
            return self.reactor.enqueue_next_pass(self)
        if ending == DRAINED and not interest & POLLOUT:
            # Before zmq_msg_recv(DONTWAIT) finds nothing it processes the whole mailbox, as reading
            # ZMQ_EVENTS does.
            self.events_read_at = self.reactor.sweeper.epoch
        else:
            events = self.read_events()
            if events < 0 or self.state >= CLOSED:
                return 0
            interest = self.effective_interest(events)
            if events & interest & POLLIN:
                self.maybe_readable = True
            if events & interest:
                return self.reactor.enqueue_next_pass(self)
        if self.has_work():
            return self.reactor.enqueue_next_pass(self)
        become(self, ARMED if interest else IDLE)
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
                self.on_socket_error(ENOTSOCK)
                return -1
            if lib.getsockopt(handle, OPT_EVENTS, &events, &size) == 0:
                self.events_read_at = self.reactor.sweeper.epoch
                return events
            code = lib.last_error()
            if code != EINTR:
                self.on_socket_error(code)
                return -1
            PyErr_CheckSignals()
            check_process(self)

    cdef int set_retry(self, bint retry) noexcept:
        """Whether it gets turns by the clock."""
        self.reactor.retrying += retry - self.retry
        self.retry = retry
        return 0

    cdef int touch(self) except -1:
        """Somebody may call libzmq on the socket and swallow an event: look before the loop sleeps."""
        if self.index >= 0 and not self.touched:
            self.touched = True
            self.reactor.sweeper.touched.append(self)
            self.reactor.wake_if_sleeping()
        return 0


cdef object forked_error():
    return RuntimeError(
        "this stream's event loop belongs to the parent process: after fork, make context, loop and "
        "streams anew"
    )


cdef inline int check_process(Source self) except -1:
    """Raise in a forked child: after user code, which may have come back there."""
    if self.state == FORKED:
        raise forked_error()
    return 0
