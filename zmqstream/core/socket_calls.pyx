# The methods of an asynchronous socket: what zmqstream.asyncio.Socket does for each message.
#
# A socket finds a message, or room to send, without the loop, and returns a done future. Only if it has
# to wait does it use what stands in socket_waiters.pyx.


# -- receiving --------------------------------------------------------------------------------------

def socket_recv_multipart(self, int flags=0, bint copy=True, bint track=False):
    """Receive a message: a future of the list of its frames."""
    return socket_receive(self, MESSAGE, flags, copy, None, 0)


def socket_recv(self, int flags=0, bint copy=True, bint track=False):
    """Receive a frame: a future of it."""
    return socket_receive(self, PART, flags, copy, None, 0)


def socket_recv_into(self, buf, /, *, Py_ssize_t nbytes=0, int flags=0):
    """Receive a frame into a buffer: a future of its size."""
    return socket_receive(self, INTO, flags, True, buf, nbytes)


cdef object receive_for_socket(
    Stream self, Kind kind, bint copy, object buffer, Py_ssize_t size, bint out_of_turn, Ending *ending
):
    """What is there; None if there is nothing."""
    if kind != INTO:
        return receive_one(self, copy, kind == MESSAGE, out_of_turn, ending)
    try:
        return Socket.recv_into(self.sock, buffer, nbytes=size, flags=DONTWAIT)
    except zmq.Again:
        ending[0] = DRAINED
    except zmq.ContextTerminated:
        self.on_socket_error(ETERM)
        raise
    except zmq.ZMQError as error:
        if error.errno != EFSM or not out_of_turn:
            raise
        ending[0] = LOOK
    return None


cdef object socket_receive(
    object socket, Kind kind, int flags, bint copy, object buffer, Py_ssize_t size
):
    cdef Stream self = socket._stream
    cdef Waiters waiters
    cdef object result = None, error = None
    cdef bint yielding, wait = not flags & DONTWAIT
    cdef Ending ending = DRAINED
    if self is None or not is_here(self):
        self = socket._find_stream()
        if self is None:
            return socket._receive_as_pyzmq(kind == MESSAGE, kind == INTO, flags, copy, buffer, size)
    waiters = waiters_of(self)
    if wait and waiters.first() is not None:
        return wait_for_message(self, socket, kind, copy, buffer, size, False, LOOK)
    yielding = wait and must_go_round(self, OPT_RCVTIMEO)
    if not yielding:
        try:
            check_receivable(self, kind)
            result = receive_for_socket(self, kind, copy, buffer, size, wait, &ending)
        except Exception as failure:
            error = failure
        if result is not None:
            if self.interest():
                self.touch()
            return done_future(self.reactor, result)
        if error is None and not wait:
            error = zmq_error(EAGAIN)
        if error is not None:
            if self.interest():
                self.touch()
            return failed_future(self.reactor, error)
    return wait_for_message(self, socket, kind, copy, buffer, size, yielding, ending)


cdef object wait_for_message(
    Stream self, object socket, Kind kind, bint copy, object buffer, Py_ssize_t size, bint yielding,
    Ending ending
):
    """A future for a receive that finds nothing, or must let the loop go round first."""
    cdef Waiters waiters = self.waiters
    cdef SocketReceive receive
    cdef object future
    cdef int milliseconds = socket_timeout(self, OPT_RCVTIMEO)
    if milliseconds == 0:
        return failed_future(self.reactor, zmq_error(EAGAIN))
    warn_if_not_running(self, True)
    receive = SocketReceive.__new__(SocketReceive)
    receive.stream = self
    receive.owner = socket
    receive.kind = kind
    receive.copy = copy
    receive.buffer = buffer
    receive.size = size
    receive.yielding = yielding
    receive.limited = True
    future = receive.outcome = new_future(ReceiveFuture, self.reactor)
    future._receive = receive
    if milliseconds > 0:
        receive.timer = self.reactor.loop.call_later(milliseconds * 1e-3, receive._on_timeout)
        self.reactor.called = True
    waiters.join(receive)
    if waiters.first() is receive:
        waiters.wants_message = True
        if yielding:
            self.reactor.enqueue(self)
        else:
            start_fairness(self)
            self.finish(ending)
    return future


cdef bint must_go_round(Stream self, int timeout) except -1:
    """Whether a call must wait for an iteration of the loop. With a `timeout` of 0 it never waits."""
    return (
        budget_spend(&waiters_of(self).fairness) and runs_here(self.reactor)
        and socket_timeout(self, timeout) != 0 and must_yield(self)
    )


cdef int warn_if_not_running(Stream self, bint waits) except -1:
    """What has to wait needs a loop that runs, or will."""
    if not runs_here(self.reactor):
        warnings.warn(
            "No running event loop. zmqstream.asyncio should be used from within an asyncio loop.",
            RuntimeWarning, stacklevel=2)
    return 0


def socket_deserialize(recvd, load):
    """What recv_string() and its like do with the future of recv()."""
    if type(recvd) is ReceiveFuture and not recvd.done():
        recvd._receive._set_load(load)
        return recvd
    if type(recvd) is not Future and type(recvd) is not ReceiveFuture:
        return None
    if recvd.exception() is not None:
        return recvd
    future = Future(loop=recvd.get_loop())
    try:
        future.set_result(load(recvd.result()))
    except Exception as error:
        future.set_exception(error)
    return future


# -- sending ----------------------------------------------------------------------------------------

def socket_send_multipart(
    self, msg_parts, int flags=0, bint copy=True, bint track=False, **kwargs
):
    """Send a message: a future that is done when libzmq has accepted the message."""
    return socket_send_message(self, msg_parts, flags, copy, track, kwargs)


def socket_send(self, data, int flags=0, bint copy=True, bint track=False, **kwargs):
    """Send a frame: a future that is done when libzmq has accepted the message."""
    return socket_send_message(self, (data,), flags, copy, track, kwargs)


cdef object socket_send_message(
    object socket, object message, int flags, bint copy, bint track, dict kwargs
):
    cdef Stream self = socket._stream
    cdef object frames, future, tracker = None, error = None
    cdef list trackers
    cdef PartialMessage whole
    cdef Delivery delivery
    cdef int code = EAGAIN
    if self is None or not is_here(self) or kwargs:
        try:
            self = socket._find_stream()
        except zmq.ZMQError as failure:  # it is closed
            future = Future(loop=asyncio.get_event_loop())
            future.set_exception(failure)
            return future
        if self is None or kwargs:
            return socket._send_as_pyzmq(message, flags, copy, track, kwargs)
    frames = only_bytes(message) if copy and not track else None
    if frames is None:
        trackers = []
        try:
            if not message and isinstance(message, (list, tuple)):
                raise IndexError("a message needs at least one frame, and this one is empty")
            frames = snapshot(message, socket, copy, track, trackers)
        except Exception as failure:
            return failed_future(self.reactor, failure)
        if trackers:
            tracker = tracker_of(trackers)
    if flags & SNDMORE or self.parts:
        whole = gather_part(self, frames, flags, None if tracker is None else Delivery(None, tracker))
        if whole is None:
            return done_future(self.reactor, tracker)
        frames, delivery = whole.all_frames(), join_deliveries(whole.deliveries)
        tracker = None if delivery is None else delivery.tracker
    if has_mail(self):
        collect_mail(self)
    flags &= ~SNDMORE
    if self.out.queued == 0 and (flags & DONTWAIT or not must_go_round(self, OPT_SNDTIMEO)):
        if self.interest():
            self.touch()
        code = hand_over_now(self, <PyObject *> frames, flags)
        while code == EINTR:
            PyErr_CheckSignals()
            check_process(self)
            code = hand_over_now(self, <PyObject *> frames, flags)
    if code == 0:
        zs_count(ZS_QUEUED, 1)
        count_handed_over(self, size_of(<PyObject *> frames))
        return done_future(self.reactor, tracker)
    if code != EAGAIN or flags & DONTWAIT:
        error = zmq_error(code)
        if code == ETERM or code == ENOTSOCK:
            self.on_socket_error(code)
        return failed_future(self.reactor, error)
    return wait_to_send(self, socket, frames, flags, tracker)


cdef object later_future(Stream self, object result):
    """A future that is done when the loop has gone round once."""
    cdef object future = new_future(Future, self.reactor)
    self.reactor.call_soon(_set_result, (future, result))
    return future


cdef object wait_to_send(Stream self, object socket, object frames, int flags, object tracker):
    """A future for a message that libzmq does not take yet."""
    cdef int milliseconds = socket_timeout(self, OPT_SNDTIMEO)
    cdef object future
    cdef SocketSend send
    if milliseconds == 0:
        return failed_future(self.reactor, zmq_error(EAGAIN))
    warn_if_not_running(self, True)
    send = SocketSend.__new__(SocketSend)
    send.stream = self
    send.owner = socket
    send.limited = milliseconds > 0
    future = send.outcome = new_future(EndableFuture, self.reactor)
    future._end = send._on_cancel
    send.delivery = Delivery(
        None, tracker, zs_now() + milliseconds * <int64_t> 1_000_000 if milliseconds > 0 else 0)
    send.delivery.awaited = send
    enqueue(self, frames, size_of(<PyObject *> frames), flags, send.delivery)
    return future


# -- polling ----------------------------------------------------------------------------------------

def socket_poll(self, timeout=None, int flags=POLLIN):
    """Wait for events: a future of those that have come, 0 after `timeout` milliseconds."""
    cdef Stream stream = self._stream
    cdef object future
    cdef int events
    cdef PollWaiter poller
    if self.closed:
        raise zmq_error(ENOTSUP)
    if stream is None or not is_here(stream):
        stream = self._find_stream()
        if stream is None:
            return self._poll_as_pyzmq(timeout, flags)
    events = look_for_events(stream)
    if events < 0:
        return failed_future(stream.reactor, stream.close_reason or zmq_error(ENOTSOCK))
    if timeout == 0 or (events & flags and may_go_on(stream)):
        return done_future(stream.reactor, events & flags)
    warn_if_not_running(stream, True)
    poller = PollWaiter.__new__(PollWaiter)
    poller.mask = flags
    poller.owner = self
    future = poller.outcome = new_future(EndableFuture, stream.reactor)
    future._end = poller.leave
    if timeout is not None and timeout > 0:
        poller.timer = stream.reactor.loop.call_later(timeout * 1e-3, poller._on_timeout)
        stream.reactor.called = True
    poller.join(stream)
    if events & flags:
        stream.reactor.enqueue(stream)
    else:
        stream.finish(DRAINED)
    return future
