# Awaiting: messages one by one for coroutines, sends that are told to their caller, and levels.
#
# - What is there is had without the loop (awaitables.pyx); but after a turn's worth of that the loop goes
#   once round.
# - A receiver that finds no message stands in `receivers`, in order. The first of them wants POLLIN:
#   settle() sees it and wakes it (`awaited` is False from then on). It receives when it runs; the next
#   is seen to in the stream's next turn. So no message is ever in anybody's hands who may be cancelled.
# - asend() has tried already when it returns. What libzmq did not take stands in the queue, and who
#   is cancelled while it does takes it back.

cdef class Awaiting(Incoming):
    def __cinit__(self, *args, **kwargs):
        self.begin_pace()

    cdef int wanted(self) noexcept:
        return Incoming.wanted(self) | (POLLIN if self.awaited else 0)

    cdef int still_wanted(self, int events) except -1:
        if self.awaited and events & POLLIN:
            self.wake_receiver()
        return Incoming.still_wanted(self, events)

    cdef int wake_receiver(self) except -1:
        """The first that waits may try: it wants no events from now on, but runs."""
        self.awaited = False
        return self.reactor.wake_future((<AwaitedMessage> self.receivers[0]).future)

    cdef int turn(self) except -1:
        cdef int events
        if self.awaited and self.running:
            # the loop runs inside a callback, and settle() is left to that callback's turn
            events = self.read_events()
            if events > 0 and events & POLLIN:
                self.wake_receiver()
        return Incoming.turn(self)

    # -- pace: half a turn's worth, and another half if the loop has not come by meanwhile -----------

    cdef int begin_pace(self) except -1:
        begin(&self.paced, max(1, self.turn_messages // 2), self.turn_ns // 2, zs_now())
        return 0

    cdef bint pace_over(self) except -1:
        """Whether the loop is to be let go once round: it has had no chance to for so long.

        It may have had many, and this is the first message for a minute: ask it to say so.
        """
        self.begin_pace()
        if self.pace_asked:
            return True
        self.reactor.call_soon(self._loop_came_by, ())
        self.pace_asked = True
        return False

    def _loop_came_by(self):
        self.pace_asked = False

    cdef int check_running(self) except -1:
        if asyncio._get_running_loop() is not self.reactor.loop:
            self.check_usable()
            raise RuntimeError("a stream can only be awaited in its own event loop")
        return 0

    # -- receiving ------------------------------------------------------------------------------

    cdef int check_receivable(self, Kind kind) except -1:
        if self.state == CLOSED or self.handle() is NULL or self.reactor.generation != fork_generation:
            if self.ended_by is not None:
                raise self.ended_by
            if kind == ITEM and self.state == CLOSED and self.reactor is not None:
                raise StopAsyncIteration
            self.check_usable()
        if self.closing:
            if kind == ITEM:
                raise StopAsyncIteration
            raise OSError("Stream is closed: aclose() has begun")
        if self.recv_callback is not None:
            raise RuntimeError(
                f"{self!r} has a receive callback; await its messages, or have them given to it, not both")
        if self.debug:
            self.check_thread("recv")
        return 0

    cdef object receive_one(self, bint copy):
        """A message that is there; None if there is none."""
        cdef zmq_msg_t msg
        cdef void *handle
        cdef int size, code
        cdef list message
        lib.msg_init(&msg)
        zs_count(ZS_MSGS, 1)
        try:
            while True:
                handle = self.handle()
                if handle is NULL:
                    self.failed(ENOTSOCK)
                    self.check_open()
                size = lib.msg_recv(&msg, handle, DONTWAIT)
                if size >= 0:
                    break
                code = lib.last_error()
                if code == EAGAIN:
                    return None
                if code == EINTR:
                    self.interrupted()
                elif code == EFSM and self.out.queued:
                    return None  # a REQ, whose request is still in the queue
                elif code == ETERM or code == ENOTSOCK:
                    self.failed(code)
                    raise zmq_error(code)
                else:
                    raise zmq_error(code)
            zs_count(ZS_RECEIVED, 1)
            zs_count(ZS_GIVEN_UP, 1)  # until it is there
            self.messages_in += 1
            if copy and not lib.msg_more(&msg):
                message = [bytes_in(&msg, size)]
                self.bytes_in += PyBytes_GET_SIZE(message[0])
            else:
                message = message_in(handle, &msg, size, copy, &self.bytes_in)
            zs_count(ZS_GIVEN_UP, -1)
            zs_count(ZS_DELIVERED, 1)
            return message
        finally:
            lib.msg_close(&msg)
            zs_count(ZS_MSGS, -1)

    def recv_multipart(self, bint copy=True):
        """Await a message: `await stream.recv_multipart()` is a list of its frames.

        A message that has come is received without waiting for the loop, which is let go once round
        after each turn's worth of such messages (see set_turn_limits()). Who waits is served in order.
        If cancelled, nothing is lost: a message is received by whoever returns with it.

        Parameters
        ----------
        copy : bool
            Whether frames are `bytes`, or `zmq.Frame` with libzmq's own memory.

        Raises, when awaited
        --------------------
        OSError
            The stream is closed, or was closed meanwhile.
        RuntimeError
            It has a receive callback, see on_recv(); or another event loop than its own runs.
        zmq.ZMQError
            libzmq's: zmq.ContextTerminated; EFSM of a REQ or REP whose turn it is to send; ENOTSUP of
            a socket that only sends.
        """
        return self.receiver(MESSAGE, copy)

    def recv(self, bint copy=True):
        """Await a message of one frame: its frame. See recv_multipart().

        Raises, when awaited
        --------------------
        MultipartMessageError
            It has more: a ValueError, whose attribute `message` has the frames.
        """
        return self.receiver(FRAME, copy)

    def __aiter__(self):
        """`async for message in stream`: lists of bytes, until the stream is closed."""
        return self

    def __anext__(self):
        return self.receiver(ITEM, True)

    cdef AwaitedMessage receiver(self, Kind kind, bint copy):
        cdef AwaitedMessage receiver = AwaitedMessage.__new__(AwaitedMessage)
        receiver.stream = self
        receiver.kind = kind
        receiver.copy = copy
        return receiver

    # -- sending --------------------------------------------------------------------------------

    def asend_multipart(
        self, msg, int flags=0, bint copy=True, bint track=False, *, timeout=None
    ):
        """Send a message; what is returned can be awaited, until libzmq has it.

        It is handed to libzmq at once, if nothing is queued before it and libzmq takes it; or else
        queued behind the others. It is sent whether that is awaited or not. Cancelled while the message
        is still queued, it is taken back. Its outcome is told to who awaits, and to nobody else but, if
        it failed, on_err(). The limits of set_write_buffer_limits() are no concern of it.

        Parameters are those of send_multipart(). When awaited, the result is what a socket's
        send_multipart() returns: None, or with `copy=False` a zmq.MessageTracker, which without
        `track=True` says that it is done.

        Raises
        ------
        TypeError, ValueError, OSError, RuntimeError
            As send_multipart(), at the call.
        zmq.ZMQError
            libzmq's, when awaited: EHOSTUNREACH, EFSM, zmq.ContextTerminated...; a MessageExpired if
            `timeout` seconds were not enough; a MessageDropped if others took its place in a queue
            with limits. OSError: the stream was closed.
        """
        cdef SendExtra extra
        cdef AwaitedSend awaited
        cdef object frames, tracker
        cdef int code
        cdef list trackers = []
        self.check_usable()
        self.check_thread("asend_multipart")
        if flags & SNDMORE:
            raise ValueError("asend_multipart: flags must not have SNDMORE, as a message is sent as a whole")
        deadline = deadline_of(timeout, "asend_multipart")
        frames = snapshot(msg, self.sock, copy, track, trackers)
        tracker = tracker_of(trackers) if trackers else None
        self.check_usable()  # again: the snapshot may have run user code
        awaited = AwaitedSend.__new__(AwaitedSend)
        awaited.stream = self
        code = EAGAIN
        if spent(&self.paced):
            awaited.pausing = self.pace_over()  # also before: it may fail
        if self.out.queued == 0 and self.parts is None:
            self.suspect_raw_use()  # first: where that raises, nothing was sent
            code = message_out(self.handle(), self.socket_type, <PyObject *> frames, flags)
        if code == EAGAIN or code == EINTR:
            extra = awaited.extra = SendExtra(None, None, tracker, deadline)
            extra.awaited = awaited
            if deadline:
                self.watch_deadline(extra)
            self.enqueue_item(frames, size_of(<PyObject *> frames), flags, extra)
            return awaited
        zs_count(ZS_QUEUED, 1)
        if code == 0:
            zs_count(ZS_SENT, 1)
            self.messages_out += 1
            self.bytes_out += size_of(<PyObject *> frames)
            awaited.tell(None, tracker)
        else:
            zs_count(ZS_FAILED, 1)
            error = zmq_error(code)
            awaited.tell(error, None)
            if code == ETERM or code == ENOTSOCK:
                self.failed(code)
            else:
                self.errors += 1
                awaited.alone = not self.tell_error(error, False)
        return awaited

    def asend(self, msg, int flags=0, bint copy=True, bint track=False, *, timeout=None):
        """Send a message of one frame, `msg`. See asend_multipart()."""
        return self.asend_multipart((msg,), flags, copy, track, timeout=timeout)

    def drain(self):
        """Await room in the queue: until it has fallen to `low`, if it is longer than `high`.

        Without limits (see set_write_buffer_limits()): until it is empty. Where there is nothing to
        wait for, `await stream.drain()` does not wait for the loop.

        Raises OSError, when awaited, if the stream is closed, or was closed meanwhile.
        """
        if self.state != CLOSED and (
            not self.out.over if self.out.has_limits() else self.out.queued == 0
        ):
            # one of its own: as_completed() makes a set of what it is given
            return AwaitedNothing.__new__(AwaitedNothing)
        return self.level(not self.out.has_limits())

    def _emptied(self):
        """Await an empty queue."""
        return self.level(True)

    cdef AwaitedLevel level(self, bint emptied):
        cdef AwaitedLevel awaited = AwaitedLevel.__new__(AwaitedLevel)
        awaited.stream = self
        awaited.emptied = emptied
        return awaited

    cdef int end_awaiting(self) except -1:
        """The stream has been closed: let those go on that wait, to be told so."""
        cdef AwaitedMessage each
        self.awaited = False
        while self.receivers:
            each = self.receivers.popleft()
            if each.future is not None:
                self.reactor.wake_future(each.future)
        return 0
