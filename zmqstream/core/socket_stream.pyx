# The stream inside an asynchronous socket of zmqstream.asyncio.
#
# What waits at the socket uses what coroutines that await a stream use: the stream's receivers, and its
# outbox. If the socket already has a ZMQStream on this loop, it uses that one. If it gets one later,
# that takes over what waits.


@cython.final
cdef class SocketStream(Stream):
    """A stream that no user sees: of an asynchronous socket, or of any socket that a Poller watches.

    It has no `py_socket`, because its socket has an owner.
    """

    def _open_for(self, owner, socket, Reactor reactor):
        """Begin: `socket` is what `owner` shadows, or a plain socket if that is None."""
        cdef int fd = socket_fd(socket)
        self.socket_type = socket.getsockopt(zmq.TYPE)
        self.owner = None if owner is None else weakref.ref(owner)
        self.io_loop = reactor.loop
        self.own_send = True
        self.runner.open(reactor.loop, reactor.loop.get_debug())
        self.open_source(socket, origin_of(socket), fd, reactor)

    cdef int on_socket_error(self, int code) except -1:
        """Its context was terminated, or its socket was closed directly."""
        cdef object owner = None if self.owner is None else self.owner()
        if self.state == CLOSED:
            return 0
        if code == ETERM:
            self.close_reason = zmq_error(code)
        self.end_all()
        close_stream(self, None, False)
        if owner is not None:
            owner.close()
        return 0

    cdef int end_all(self) except -1:
        """End all that waits: with the reason for which the socket has ended, or as cancelled."""
        cdef Ring ring
        cdef Delivery delivery
        cdef SocketSend send
        if self.waiters is not None:
            end_socket_waiters(self)
        for ring in [*(self.out.parked or {}).values(), self.out.ring]:
            for delivery in list(ring.deliveries or ()):
                if delivery.ring is ring and isinstance(delivery.awaited, SocketSend):
                    send = delivery.awaited  # it must outlive its withdrawal
                    send.stop(self.close_reason)
        return 0

    def _leave(self):
        """Cancel what waits, and watch the socket no longer."""
        if self.state == CLOSED:
            return
        self.end_all()
        if self.state == CLOSED:
            return
        detach(self)

    def _is_of(self, Reactor reactor):
        """Whether it is open, on this loop."""
        return self.state < CLOSED and self.reactor is reactor and reactor.state == LOOP_OPEN

    def _touch(self):
        self.touch()

    def _is_used(self):
        """Whether anything waits."""
        return self.out.queued > 0 or self.waiters is not None and (
            self.waiters.first() is not None or len(self.waiters.pollers) > 0)


cdef int detach(SocketStream self) except -1:
    """Close it without its socket, which nothing waits for any more or which another stream takes."""
    become(self, CLOSED)
    self.reactor.remove(self)
    end_flow(self)
    self.release_socket()
    return 0


cdef inline bint is_here(Stream self) except -1:
    """Whether it is open, and of the loop that runs."""
    return self.state < CLOSED and self.reactor.state == LOOP_OPEN and runs_here(self.reactor)


def stream_of(Reactor reactor, object owner, object socket):
    """The stream that a socket has on this loop, or a new one."""
    cdef Source other = reactor.by_fd.get(socket_fd(socket))
    cdef SocketStream stream
    if other is not None and isinstance(other, Stream) and other.handle() is (<Socket> socket).handle:
        return other
    stream = SocketStream.__new__(SocketStream)
    stream._open_for(owner, socket, reactor)
    return stream


cdef int take_over(Stream self, Socket socket, int fd) except -1:
    """A ZMQStream of a socket that has a SocketStream on this loop takes what waits there."""
    cdef Source other = self.reactor.by_fd.get(fd)
    cdef SocketStream old
    cdef Ring ring
    cdef Delivery delivery
    cdef object each
    if not isinstance(other, SocketStream) or other.handle() is not socket.handle:
        return 0
    old = other
    detach(old)
    with cython.critical_section(self):
        self.waiters, old.waiters = old.waiters, None
    self.out, old.out = old.out, Outbox()
    self.parts, old.parts = old.parts, None
    if self.waiters is not None:
        for each in self.waiters.receivers:
            (<AwaitedMessage> each).stream = self
        for each in self.waiters.pollers:
            (<PollWaiter> each).stream = self
    for ring in [*(self.out.parked or {}).values(), self.out.ring]:
        for delivery in ring.deliveries or ():
            if delivery.awaited is not None:
                delivery.awaited.stream = self
    return 0


# -- what a Poller uses --------------------------------------------------------------------------------

cpdef int look_for_events(Stream self) except -2:
    """The socket's events; -1 if it has ended. Who waits for them at the stream gets a turn."""
    cdef int events = self.read_events()
    if events > 0 and events & self.interest():
        self.maybe_readable = True
        self.reactor.enqueue(self)
    return events


cpdef bint may_go_on(Stream self) except -1:
    """Whether what is there may be had before the loop has gone round."""
    return not (budget_spend(&waiters_of(self).fairness) and must_yield(self))


def poll_now(list sockets, type kind, timeout):
    """For a Poller: a future of the events, if there are any or no time to wait; else None.

    Also None unless all `sockets` are of `kind`, and were used in the running loop before.
    """
    cdef Stream stream = None
    cdef list found = []
    cdef int events
    for socket, mask in sockets:
        if not isinstance(socket, kind):
            return None
        stream = socket._stream
        if stream is None or not is_here(stream):
            return None
        events = look_for_events(stream)
        if events < 0:
            return None
        events &= <int> mask
        if events:
            found.append((socket, events))
    if stream is None or not (found or timeout == 0):
        return None
    if timeout == 0 or may_go_on(stream):
        return done_future(stream.reactor, found)
    return later_future(stream, found)


def poll_wait(Stream stream, int mask, callback):
    """For a Poller: call `callback(events, error)` once, in a turn, when there are events of `mask`."""
    cdef PollWaiter poller = PollWaiter.__new__(PollWaiter)
    poller.mask = mask
    poller.callback = callback
    poller.join(stream)
    stream.finish(LOOK)
    return poller


def release_unowned(Stream stream):
    """For a Poller: forget a plain socket that no Poller watches any more."""
    if (
        isinstance(stream, SocketStream) and stream.state < CLOSED
        and (<SocketStream> stream).owner is None and not stream._is_used()
    ):
        stream._leave()


def check_socket_process(SocketStream stream):
    """Raise in a forked child."""
    check_process(stream)


def poll_future(loop, end):
    """For a Poller: a future that calls `end()` when it is cancelled."""
    future = EndableFuture(loop=loop)
    future._end = end
    return future
