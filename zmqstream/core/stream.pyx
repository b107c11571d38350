# The class: state, turn, and public methods.

cdef class Stream(Source):
    def __cinit__(self, *args, **kwargs):
        self.out = Outbox()
        self.turn_messages = TURN_MESSAGES
        self.turn_ns = TURN_NS
        self.recv_copy = True
        begin_pace(self)

    cdef int wanted(self) noexcept:
        return (
            (POLLIN if self.awaited or (self.recv_callback is not None and not full(self)) else 0)
            | (POLLOUT if self.out.queue.count else 0)
        )

    cdef int still_wanted(self, int events) except -1:
        """wanted(), but not POLLOUT where that has proved to mean nothing.

        STREAM sockets, and PUBs with XPUB_NODROP, show it while they refuse every message. Such a
        stream is tried again by the clock.
        """
        cdef int wanted
        if self.awaited and events & POLLIN:
            wake_receiver(self)
        wanted = self.wanted()
        if self.blocked and events & wanted & POLLOUT:
            self.lies += 1
            if self.lies >= LIES:
                wanted &= ~POLLOUT
                self.set_retry(True)
        return wanted

    cdef int turn(self) except -1:
        cdef Budget budget, half
        cdef bint more = False, parked = False
        cdef int receipt = LOOK_AROUND
        cdef int events
        if self.awaited and self.running:
            # the loop runs inside a callback, and settle() is left to that callback's turn
            events = self.read_events()
            if events > 0 and events & POLLIN:
                wake_receiver(self)
        begin(&budget, self.turn_messages, self.turn_ns, self.reactor.now)
        self.turns += 1
        self.running += 1
        self.blocked = False
        if self.retry:
            self.set_retry(False)
        try:
            if self.untold:
                more = tell_untold(self, &budget)
            if self.out.parked_count:
                half = budget  # they must not keep others from their turn
                half.left = (self.turn_messages + 1) // 2
                half.deadline = half.last + self.turn_ns // 2
                parked = unpark(self, &half) == 1
            if self.input_due and self.recv_callback is not None and not more and not full(self):
                receipt = receive_turn(self, &budget)
                more = receipt == BUDGET_SPENT
            if self.out.queue.count and not more and not self.blocked:
                receipt = LOOK_AROUND
                more = send_queued(self, &budget)
            more = more or (parked and self.out.parked_count > 0)
            self.turns_cut += more
        except BaseException:
            more = False
            receipt = LOOK_AROUND
            raise
        finally:
            self.running -= 1
            if self.out.parked_count:
                self.set_retry(True)
            if more and self.running == 0 and self.index >= 0:
                self.reactor.enqueue_later(self)
                attend(self)
            else:
                self.leave(receipt == MAILBOX_EMPTY)
        return 0

    cdef int settle(self, bint drained=False) except -1:
        if self.state == CLOSED:
            return 0
        if not self.running:  # or else the outermost turn or flush will
            rest(self, drained)
        # Also if the loop runs inside a callback, where somebody may wait for that. And last: it runs
        # bytecode, and what a thread sends meanwhile must find the stream settled.
        if self.state != CLOSED:
            attend(self)
        return 0

    cdef int failed(self, int code) except -1:
        """libzmq refuses the socket with error `code`."""
        cdef object error
        if self.state == CLOSED:
            return 0
        if code == ENOTSOCK:
            # nobody's call is at fault, and Python shows a warning once for each line of code
            _logger.warning("%r is attached to a closed socket", self)
            return closed_directly(self)
        error = zmq_error(code)
        self.errors += 1
        callback, context = self.err_callback, self.err_context
        if code == ETERM:
            self.ended_by = error
            # first of all: the context waits for its sockets, and on_err may do anything
            release(self, None, False)
        elif callback is None:
            _logger.error("%r: %s", self, error)
        if callback is not None:
            call_back(self, "the on_err callback", callback, (error,), context, False)
        return 0

    cdef int orphan(self) except -1:
        self.changes += 1
        return Source.orphan(self)

    def _returned(self, result, callback):
        returned(self, result, callback)

    def _task_done(self, task):
        self.tasks.discard(task)
        task_ended(self, task)

    def set_write_buffer_limits(
        self, high=None, low=None, *, high_bytes=None, low_bytes=None, policy="wait"
    ):
        """Bound the queue of messages that wait to be handed to libzmq.

        libzmq has queues of its own behind this one, bounded by SNDHWM.

        Parameters
        ----------
        high, low : int, optional
            Messages. A queue of more than `high` is too long until it has fallen to `low`: by
            default a quarter of `high`. None: no limit.
        high_bytes, low_bytes : int, optional
            Likewise, of the bytes of all frames.
        policy : str
            What becomes of a message beyond `high`:

            "wait": it is queued; `await drain()` waits, and on_drain() tells when there is room.
            "raise": the call of send raises QueueFull, a zmq.Again, and nothing is queued.
            "drop_newest": it is dropped.
            "drop_oldest": the oldest of the queue is dropped.

            What is dropped is told to on_send()'s and on_err()'s callbacks with a MessageDropped, or
            else logged once until the queue has fallen to `low`, and counted in stats(). A message is
            never refused or dropped for its own size alone.

        Raises
        ------
        TypeError, ValueError
            A limit is no int or negative, `low` is more than `high`, the policy is unknown, or bounds
            nothing, as one other than "wait" without a limit of at least 1.
        OSError, RuntimeError
            As for on_recv().
        """
        cdef Py_ssize_t messages, messages_low, size, size_low
        if not isinstance(policy, str) or policy not in POLICIES:
            raise ValueError(
                f"set_write_buffer_limits: policy must be one of {', '.join(POLICIES)}, not {policy!r}")
        messages, messages_low = limits_of(high, low, "")
        size, size_low = limits_of(high_bytes, low_bytes, "_bytes")
        if policy != "wait" and messages == size == UNLIMITED:
            raise ValueError(f"set_write_buffer_limits: policy {policy!r} needs high or high_bytes")
        if policy != "wait" and (messages == 0 or size == 0):
            raise ValueError(
                f"set_write_buffer_limits: with a limit of 0, policy {policy!r} would send nothing")
        check_open(self)
        check_thread(self, "set_write_buffer_limits")
        self.out.high, self.out.low, self.out.high_bytes, self.out.low_bytes = messages, messages_low, size, size_low
        self.out.policy = POLICIES[policy]
        if self.out.queued > self.out.high or self.out.queued_bytes > self.out.high_bytes:
            self.out.over = True
        check_level(self)

    def get_write_buffer_limits(self):
        """(high, low, high_bytes, low_bytes): messages and bytes; None where there is no limit."""
        return tuple([
            None if limit == UNLIMITED else limit
            for limit in (self.out.high, self.out.low, self.out.high_bytes, self.out.low_bytes)
        ])

    def get_write_buffer_size(self):
        """How many messages wait to be handed to libzmq."""
        return self.out.queued

    def get_write_buffer_bytes(self):
        """How many bytes the frames have of all messages that wait to be handed to libzmq."""
        return self.out.queued_bytes

    def on_drain(self, callback):
        """Call `callback()` each time that the queue, having been too long, has fallen to `low`.

        The loop calls it, as by call_soon(). See set_write_buffer_limits(). None ends it. Raises as
        on_recv() does.
        """
        check_callback(callback, "on_drain")
        check_open(self)
        check_thread(self, "on_drain")
        self.drain_callback = callback
        self.drain_context = context_for(callback)

    def _call_on_drain(self):
        self.drain_due = False
        if self.drain_callback is not None:  # it is None when the stream has been closed
            call_back(self, 
                "the on_drain callback", self.drain_callback, (), self.drain_context, False)
            self.leave()

    def _on_expiry(self):
        cdef Budget budget
        cdef int64_t now = zs_now()
        cdef SendExtra extra
        self.timer = None
        if self.reactor.generation != fork_generation:
            return
        begin(&budget, self.turn_messages, self.turn_ns, now)
        try:
            while self.out.timed and self.out.timed[0][0] <= now:
                extra = heappop(self.out.timed)[2]
                if extra.queue is not None:
                    expire(self, extra, False)
                if spent(&budget):
                    break  # as in a turn: the timer is set anew
        finally:
            if self.state != CLOSED:
                self.leave()

    def send_multipart(
        self, msg, int flags=0, bint copy=True, bint track=False, callback=None, *, timeout=None,
        **kwargs
    ):
        """Queue a message; the loop hands it to libzmq as soon as that takes it.

        May be called from any thread. What is sent is what was given: changing the list or, with
        `copy`, a buffer afterwards changes nothing.

        Parameters
        ----------
        msg : list
            Of frames: bytes, other bytes-like objects, `zmq.Frame`.
        flags : int
            Flags of zmq_msg_send(), as zmq.SNDMORE; DONTWAIT is always set.
        copy : bool
            False: libzmq uses the memory of frames of at least `socket.copy_threshold` bytes, which
            must not change until they are sent.
        track : bool
            With `copy=False`: the status given to the callback is a `zmq.MessageTracker`.
        callback : callable, optional
            Called as `callback(msg, status)` for this message, instead of that of on_send().
        timeout : float, optional
            Seconds. A message that could not be handed to libzmq by then leaves the queue, and its
            outcome is a MessageExpired. It holds up no other by that.

        Raises
        ------
        TypeError
            A frame cannot be sent: the message says which, and nothing of it is queued.
        ValueError
            There is no frame, `track` is asked for a `zmq.Frame` made without, or `timeout` is not more
            than 0.
        zmq.Again
            The queue is full, and set_write_buffer_limits() was given the policy "raise".
        OSError, RuntimeError
            As for on_recv().
        """
        if kwargs:
            warn_of_unknown(kwargs)
        queue_message(self, msg, flags, copy, track, callback, timeout)

    def send(
        self, msg, int flags=0, bint copy=True, bint track=False, callback=None, *, timeout=None,
        **kwargs
    ):
        """Queue a message of one frame, `msg`. See send_multipart()."""
        if not self.own_send:
            if timeout is not None:
                kwargs["timeout"] = timeout
            return self.send_multipart(
                [msg], flags=flags, copy=copy, track=track, callback=callback, **kwargs)
        if kwargs:
            warn_of_unknown(kwargs)
        if (
            copy and not track and callback is None and timeout is None
            and PyBytes_CheckExact(<PyObject *> msg)
        ):
            check_usable(self)
            enqueue_frames(self, msg, flags, None)
        else:
            queue_message(self, (msg,), flags, copy, track, callback, timeout)

    def sending(self):
        """Whether messages wait to be handed to libzmq."""
        return self.out.queue.count > 0 or self.out.parked_count > 0

    def _alive_done(self, task):
        cdef bint resume = full(self)
        self.alive.discard(task)
        if resume and self.state != CLOSED and self.recv_callback is not None:
            self.input_due = True
            if self.state != READY:
                self.reactor.enqueue(self)
        task_ended(self, task)

    def _loop_came_by(self):
        self.pace_asked = False

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
        return receiver(self, MESSAGE, copy)

    def recv(self, bint copy=True):
        """Await a message of one frame: its frame. See recv_multipart().

        Raises, when awaited
        --------------------
        MultipartMessageError
            It has more: a ValueError, whose attribute `message` has the frames.
        """
        return receiver(self, FRAME, copy)

    def __aiter__(self):
        """`async for message in stream`: lists of bytes, until the stream is closed."""
        return self

    def __anext__(self):
        return receiver(self, ITEM, True)

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
        check_usable(self)
        check_thread(self, "asend_multipart")
        if flags & SNDMORE:
            raise ValueError("asend_multipart: flags must not have SNDMORE, as a message is sent as a whole")
        deadline = deadline_of(timeout, "asend_multipart")
        frames = snapshot(msg, self.sock, copy, track, trackers)
        tracker = tracker_of(trackers) if trackers else None
        check_usable(self)  # again: the snapshot may have run user code
        awaited = AwaitedSend.__new__(AwaitedSend)
        awaited.stream = self
        code = EAGAIN
        if spent(&self.paced):
            awaited.pausing = pace_over(self)  # also before: it may fail
        if self.out.queued == 0 and self.parts is None:
            self.suspect_raw_use()  # first: where that raises, nothing was sent
            code = message_out(self.handle(), self.socket_type, <PyObject *> frames, flags)
        if code == EAGAIN or code == EINTR:
            extra = awaited.extra = SendExtra(None, None, tracker, deadline)
            extra.awaited = awaited
            if deadline:
                watch_deadline(self, extra)
            enqueue_item(self, frames, size_of(<PyObject *> frames), flags, extra)
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
                awaited.alone = not tell_error(self, error, False)
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
        return level(self, not self.out.has_limits())

    def _emptied(self):
        """Await an empty queue."""
        return level(self, True)

    def _open(self, socket, shadowed, Reactor reactor, io_loop, bint own_send):
        """Begin: `socket` is a plain zmq.Socket, our own shadow of `shadowed` if that is given."""
        cdef int fd = socket_fd(socket)
        if self.reactor is not None:
            raise RuntimeError(f"__init__() was called twice on {self!r}")
        self.socket_type = socket.getsockopt(zmq.TYPE)
        self.py_socket = socket
        self.shadowed = shadowed
        self.io_loop = io_loop
        self.own_send = own_send
        self.debug = self.timing = (
            reactor.loop.get_debug() or os.environ.get("ZMQSTREAM_DEBUG", "0") not in ("", "0"))
        try:
            self.reactor = reactor
            check_thread(self, "__init__")
            self.open_source(socket, origin_of(socket), fd, reactor)
        except BaseException:
            self.py_socket = self.shadowed = self.reactor = None
            raise

    def __repr__(self):
        cdef str name = type(self).__name__
        if self.reactor is None:
            return f"<{name}, not initialised>"
        kind, state, endpoint = self._where()
        return (
            f"<{name}(zmq.{kind}) at {id(self):#x}, {state}{f', {endpoint}' if endpoint else ''}"
            f", in {self.messages_in}, out {self.messages_out}, queued {self.out.queued}>"
        )

    def _where(self):
        """The type of the socket, the stream's state, and its endpoint."""
        return (
            zmq.SocketType(self.socket_type).name,
            ("idle", "armed", "ready", "closed")[<int> self.state],
            endpoint(self),
        )

    def on_recv(self, callback, bint copy=True, *, max_concurrency=None):
        """Call `callback(msg)` for each message, until another callback takes its place.

        Parameters
        ----------
        callback : callable or None
            Gets one argument, the message: a list of frames, also when it is only one. May be a
            coroutine function; its coroutines start in the order of messages. None: stop receiving;
            what arrives from then on waits in libzmq. It runs in the contextvars context of this
            call.
        copy : bool
            Whether frames are `bytes`, or `zmq.Frame` with libzmq's own memory.
        max_concurrency : int, optional
            How many coroutines of the callback may be alive at a time: then messages wait in libzmq
            until one ends. With 1 they run one after another. close() cancels them, aclose() awaits
            them. None: any number.

        Raises
        ------
        TypeError
            `callback` is not callable. It is an AssertionError, too.
        TypeError, ValueError
            `max_concurrency` is no int of at least 1.
        OSError
            The stream is closed.
        RuntimeError
            Its loop is closed, it belongs to another process (after fork), or a coroutine waits for
            a message.
        """
        set_receiver(self, check_callback(callback, "on_recv"), copy, False, 0, max_concurrency)

    def _on_recv_stream(self, callback, bint copy, max_concurrency):
        set_receiver(self, 
            check_callback(callback, "on_recv_stream"), copy, True, 0, max_concurrency)

    def on_recv_batch(self, callback, bint copy=True, limit=256, *, max_concurrency=None):
        """Call `callback(messages)` with as many messages as are there, a list of lists of frames.

        `limit` is how many at most; the limits of a turn hold, too (see set_turn_limits()). A flush
        gives batches of one. Everything else is as for on_recv(), whose callback it replaces.
        """
        check_callback(callback, "on_recv_batch")
        if not isinstance(limit, int):
            raise TypeError(f"on_recv_batch: limit must be an int, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError(f"on_recv_batch: limit must be at least 1: {limit}")
        set_receiver(self, callback, copy, False, min(limit, INT_MAX), max_concurrency)

    def receiving(self):
        """Whether a receive callback is registered."""
        return self.recv_callback is not None

    def on_send(self, callback):
        """Call `callback(msg, status)` for each message that has been sent, or has failed.

        `msg` is the list of its frames. `status` is None; the `zmq.MessageTracker` for a message sent
        with `copy=False, track=True`; or the `zmq.ZMQError` it failed with. None ends it. A message
        that was given a callback of its own is reported to that instead.

        Raises as on_recv() does.
        """
        self._set_on_send(callback, "on_send", False)

    def _on_send_stream(self, callback):
        self._set_on_send(callback, "on_send_stream", True)

    def _set_on_send(self, callback, str where, bint with_stream):
        check_callback(callback, where)
        check_open(self)
        check_thread(self, where)
        self.send_callback = callback
        self.send_context = context_for(callback)
        self.send_stream = with_stream

    def on_err(self, callback):
        """Call `callback(error)` for each error of the socket, a `zmq.ZMQError`.

        A failed send, a failed receive, a terminated context (`zmq.ContextTerminated`; the stream is
        closed then). None ends it. Raises as on_recv() does.
        """
        check_callback(callback, "on_err")
        check_open(self)
        check_thread(self, "on_err")
        self.err_callback = callback
        self.err_context = context_for(callback)

    def set_turn_limits(self, messages=TURN_MESSAGES, seconds=TURN_NS * 1e-9):
        """Bound what the loop does for this stream before it looks after others.

        Parameters
        ----------
        messages : int
            Messages received and sent in one turn.
        seconds : float
            How long a turn goes on; the callback that is running then is its last.

        Raises
        ------
        TypeError, ValueError
            `messages` is no int of at least 1, or `seconds` no number above 0.
        OSError, RuntimeError
            As for on_recv().
        """
        cdef object turn_ns = number_of(seconds, "set_turn_limits: seconds") * 1e9
        if not isinstance(messages, int):
            raise TypeError(f"set_turn_limits: messages must be an int, not {type(messages).__name__}")
        if messages < 1:
            raise ValueError(f"set_turn_limits: messages must be at least 1: {messages}")
        if not turn_ns >= 1:
            raise ValueError(f"set_turn_limits: seconds must be more than 0: {seconds}")
        check_open(self)
        check_thread(self, "set_turn_limits")
        self.turn_messages = min(messages, INT_MAX)
        self.turn_ns = <int64_t> min(turn_ns, LONGEST_NS)
        begin_pace(self)

    def set_callback_timing(self, bint enabled):
        """Have the time that callbacks take counted, for stats(): two looks at a clock for each."""
        check_thread(self, "set_callback_timing")
        self.timed_for_stats = enabled
        self.timing = enabled or self.debug

    def _stats(self):
        """The values of a StreamStats."""
        return (
            self.messages_in, self.bytes_in, self.messages_out, self.bytes_out, self.errors,
            self.dropped, self.expired, self.out.queued, self.out.queued_bytes, self.out.peak_queued,
            self.turns, self.turns_cut, self.repaired,
            self.callback_ns * 1e-9 if self.timed_for_stats else None,
        )

    def flush(self, int flag=POLLIN | POLLOUT, limit=None):
        """Receive and send now, without the loop; never wait.

        An exception of a callback reaches the caller; what was not yet handled stays pending.

        Parameters
        ----------
        flag : int
            zmq.POLLIN: receive, and drop messages if there is no receive callback. zmq.POLLOUT: hand
            queued messages to libzmq.
        limit : int, optional
            How many messages to handle at most, receives and sends together.

        Returns
        -------
        int
            How many were handled.

        Raises
        ------
        OSError
            The stream is closed.
        ValueError
            `limit` is negative.
        """
        cdef Budget budget
        cdef int most = INT_MAX
        cdef bint drained = False
        if limit is not None:
            if limit < 0:
                raise ValueError(f"limit must not be negative: {limit}")
            most = min(limit, INT_MAX)
        check_open(self)
        check_thread(self, "flush")
        budget.left = most
        budget.raising = True
        budget.unlooked = budget.looked = INT_MAX  # no clock
        budget.pace = 0
        budget.deadline = INT64_MAX
        self.running += 1
        self.blocked = False
        try:
            if flag & POLLOUT and (self.out.queue.count or self.out.parked_count):
                look_at_mailbox(self)
            if self.out.parked_count and flag & POLLOUT and budget.left:
                unpark(self, &budget)
            drained = flush_loop(self, flag, &budget)
        finally:
            self.running -= 1
            if self.state != CLOSED:
                if budget.left < most:
                    self.changes += 1
                if self.index >= 0:
                    self.leave(drained)
        return most - budget.left

    def close(self, linger=None):
        """Close the stream and its socket. Idempotent; may be called anywhere.

        Queued messages are handed to libzmq first, as many as it takes without waiting, so that
        LINGER applies to them (see zmq_close(3)); the number of others is logged. No callback runs
        afterwards but that of set_close_callback().

        Parameters
        ----------
        linger : int, optional
            The socket's LINGER, in milliseconds; None leaves it as it is.
        """
        cdef int milliseconds
        if linger is not None:
            if not isinstance(linger, int):
                raise TypeError(f"linger is None or milliseconds, an int, not {type(linger).__name__}")
            milliseconds = linger  # raises OverflowError now, and not when half is closed
        if self.state == CLOSED:
            if self.py_socket is not None:
                close_socket(self, linger)  # memory was short when it was to be closed
            return
        check_thread(self, "close")
        if self.handle() is NULL:
            closed_directly(self)
        else:
            release(self, linger, True)

    def _begin_close(self, task):
        """aclose() begins, in `task`: nothing is received any more, and what is queued may be sent."""
        check_usable(self)
        check_thread(self, "aclose")
        set_receiver(self, None, True, False, 0, None)
        self.closing = True
        if self.closers is None:
            self.closers = set()
        self.closers.add(task)
        end_awaiting(self)

    def _end_close(self, task):
        """aclose() has ended in `task`."""
        self.closers.discard(task)

    def _callback_tasks(self):
        """A set of the coroutine callbacks that are alive, without those that wait for its end."""
        return ((self.tasks or set()) | (self.alive or set())) - self.closers

    def _call_on_monitor(self, callback, event, context):
        call_back(self, "the on_monitor callback", callback, (event,), context, False)
        if self.state != CLOSED:
            self.leave()

    def _set_monitor(self, monitor):
        """Have another monitor, or none: see on_monitor()."""
        cdef object old = self._monitor
        check_usable(self)
        check_thread(self, "on_monitor")
        self._monitor = monitor
        if old is not None:
            old.close()

    def closed(self):
        """Whether the stream is closed; if its socket is, the stream is closed, too."""
        if self.state == CLOSED:
            return True
        if self.py_socket.closed:
            check_thread(self, "closed")
            closed_directly(self)
            return True
        return False

    def set_close_callback(self, callback):
        """Call `callback()`, once, when the stream is closed. None ends it.

        Raises OSError if the stream is closed already: the callback would never be called.
        """
        check_callback(callback, "set_close_callback")
        if callback is not None:
            check_open(self)
        if self.state != CLOSED:
            check_thread(self, "set_close_callback")
        self.close_callback = callback
        self.close_context = context_for(callback)

    def _open_socket(self):
        """The socket of a stream that is open."""
        check_open(self)
        check_thread(self, "socket")
        return self.socket

    @property
    def socket(self):
        """The `zmq.Socket`; None when closed. Use of it can swallow events: they are looked for."""
        self.suspect_raw_use()
        return None if self.state == CLOSED else self.py_socket
