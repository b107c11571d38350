# The class: what its reactor calls, and its public face, which delegates.


cdef class Stream(Source):
    def __cinit__(self, *args, **kwargs):
        self.out = Outbox()
        self.runner = CallbackRunner()
        self.turn_messages = TURN_MESSAGES
        self.turn_ns = TURN_NS

    def _open(self, socket, shadowed, Reactor reactor, io_loop, bint own_send):
        """Begin: `socket` is a plain zmq.Socket, our own shadow of `shadowed` if that is given."""
        cdef int fd = socket_fd(socket)
        cdef bint debug = (
            reactor.loop.get_debug() or os.environ.get("ZMQSTREAM_DEBUG", "0") not in ("", "0"))
        if self.reactor is not None:
            raise RuntimeError(f"__init__() was called twice on {self!r}")
        self.socket_type = socket.getsockopt(zmq.TYPE)
        self.py_socket = socket
        self.shadowed = shadowed
        self.io_loop = io_loop
        self.own_send = own_send
        self.runner.open(reactor.loop, debug)
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
        kind, state, where = self._where()
        return (
            f"<{name}(zmq.{kind}) at {id(self):#x}, {state}{f', {where}' if where else ''}"
            f", in {self.counts.messages_in}, out {self.counts.messages_out}"
            f", queued {queued_messages(self)}>"
        )

    def _where(self):
        """The type of the socket, the stream's state, and its endpoint."""
        return (
            zmq.SocketType(self.socket_type).name,
            ("idle", "armed", "ready", "closed", "forked")[<int> self.state],
            endpoint(self),
        )

    # -- hooks of a source ----------------------------------------------------------------------

    cdef int turn(self) except -1:
        cdef Budget budget
        cdef int ending = LOOK
        if self.running and self.waiters is not None and self.waiters.wants_message:
            # the loop runs inside a callback, and finish() is left to that callback's turn
            if self.read_events() & POLLIN and self.state < CLOSED:
                wake_receiver(self)
        budget_start(&budget, self.turn_messages, self.turn_ns, self.reactor.now)
        self.counts.turns += 1
        self.running += 1
        if self.write != TO_TRY:
            become_writable(self, TO_TRY)
        try:
            ending = take_turn(self, &budget)
            self.counts.turns_cut += ending == MORE
        finally:
            self.running -= 1
            self.finish(<Ending> ending)
        return 0

    cdef int interest(self) noexcept:
        cdef int interest = POLLOUT if self.out.ring.count else 0
        if self.receiver is not None and not receiver_is_full(self):
            interest |= POLLIN
        elif self.waiters is not None and self.waiters.wants_message:
            interest |= POLLIN
        return interest

    cdef int effective_interest(self, int events) except -1:
        cdef int interest
        if events & POLLIN and self.waiters is not None and self.waiters.wants_message:
            wake_receiver(self)
        interest = self.interest()
        if events & interest & POLLOUT:
            shows_pollout(self)
        return interest & ~POLLOUT if self.write == POLLED else interest

    cdef bint has_work(self) noexcept:
        # POLLOUT does not tell what would fail: of a REQ or REP out of turn, to no peer of a ROUTER.
        # What a flush's limit or an exception left is tried, and learns its outcome.
        return self.unreported or (self.out.ring.count and self.write == TO_TRY)

    cdef int after_operation(self) except -1:
        cdef bint retry = self.out.parked_count > 0 or self.write == POLLED
        if retry != self.retry:
            self.set_retry(retry)
        check_levels(self)
        if self.out.deadlines is not None:
            set_expiry_timer(self)
        return 0

    cdef int on_socket_error(self, int code) except -1:
        cdef object error
        if self.state == CLOSED:
            return 0
        if code == ENOTSOCK:
            # no call is at fault, and Python shows a warning once for each line of code
            _logger.warning("%r is attached to a closed socket", self)
            return closed_directly(self)
        error = zmq_error(code)
        self.counts.errors += 1
        if code == ETERM:
            return closed_by_error(self, error)
        if not report_error(self, error, False):
            _logger.error("%r: %s", self, error)
        return 0

    cdef int on_loop_closed(self) except -1:
        self.changes += 1
        if self.state != FORKED:
            become(self, IDLE)
        return 0

    cdef int on_fork(self) except -1:
        self.changes += 1
        become(self, FORKED)
        return 0

    cdef int on_missed_event(self) except -1:
        self.repaired += 1
        if self.runner.debug:
            _logger.warning(
                "%r: an event was found that no poll has told of: other use of its socket may have "
                "swallowed it", self)
        return 0

    # -- what the event loop calls --------------------------------------------------------------

    def _on_expiry(self):
        self.expiry_timer = None
        if self.state >= CLOSED:
            return
        try:
            expire_overdue(self)
        finally:
            self.finish(LOOK)

    def _call_on_drain(self):
        self.drain_scheduled = False
        if self.drain_callback is not None:  # it is None when the stream has been closed
            call_back(self, self.drain_callback, (), False)
            self.finish(LOOK)

    def _call_on_monitor(self, callback, event, context):
        cdef Callback registered = Callback("the on_monitor callback", callback)
        registered.context = context
        call_back(self, registered, (event,), False)
        self.finish(LOOK)

    def _loop_went_round(self):
        self.waiters.must_yield = False

    def _bounded_task_done(self, task):
        cdef bint resume = receiver_is_full(self)
        self.runner.task_ended(task, self)
        if resume and self.state < CLOSED and self.receiver is not None:
            self.maybe_readable = True
            if self.state != READY:
                self.reactor.enqueue(self)

    # -- receiving ------------------------------------------------------------------------------

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
        check_callable(callback, "on_recv")
        set_receiver(self, callback, copy, False, 0, max_concurrency)

    def _on_recv_stream(self, callback, bint copy, max_concurrency):
        check_callable(callback, "on_recv_stream")
        set_receiver(self, callback, copy, True, 0, max_concurrency)

    def on_recv_batch(self, callback, bint copy=True, limit=256, *, max_concurrency=None):
        """Call `callback(messages)` with as many messages as are there, a list of lists of frames.

        `limit` is how many at most; the limits of a turn hold, too (see set_turn_limits()). A flush
        gives batches of one. Everything else is as for on_recv(), whose callback it replaces.
        """
        check_callable(callback, "on_recv_batch")
        if not isinstance(limit, int):
            raise TypeError(f"on_recv_batch: limit must be an int, not {type(limit).__name__}")
        if limit < 1:
            raise ValueError(f"on_recv_batch: limit must be at least 1: {limit}")
        set_receiver(self, callback, copy, False, min(limit, INT_MAX), max_concurrency)

    def receiving(self):
        """Whether a receive callback is registered."""
        return self.receiver is not None

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
        return awaited_message(self, MESSAGE, copy)

    def recv(self, bint copy=True):
        """Await a message of one frame: its frame. See recv_multipart().

        Raises, when awaited
        --------------------
        MultipartMessageError
            It has more: a ValueError, whose attribute `message` has the frames.
        """
        return awaited_message(self, FRAME, copy)

    def __aiter__(self):
        """`async for message in stream`: lists of bytes, until the stream is closed."""
        return self

    def __anext__(self):
        return awaited_message(self, ITEM, True)

    # -- sending --------------------------------------------------------------------------------

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
        send_message(self, msg, flags, copy, track, callback, timeout)

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
            send_frames(self, msg, flags, None)
        else:
            send_message(self, (msg,), flags, copy, track, callback, timeout)

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
        return send_awaited(self, msg, flags, copy, track, timeout)

    def asend(self, msg, int flags=0, bint copy=True, bint track=False, *, timeout=None):
        """Send a message of one frame, `msg`. See asend_multipart()."""
        return send_awaited(self, (msg,), flags, copy, track, timeout)

    def sending(self):
        """Whether messages wait to be handed to libzmq."""
        return queued_messages(self) > 0

    # -- outcomes -------------------------------------------------------------------------------

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
        cdef Callback registered = register(self, callback, where)
        if registered is not None:
            registered.what = "the on_send callback"
            registered.with_owner = with_stream
        self.send_callback = registered

    def on_err(self, callback):
        """Call `callback(error)` for each error of the socket, a `zmq.ZMQError`.

        A failed send, a failed receive, a terminated context (`zmq.ContextTerminated`; the stream is
        closed then). None ends it. Raises as on_recv() does.
        """
        self.err_callback = register(self, callback, "on_err")

    # -- flow control ---------------------------------------------------------------------------

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
        messages, messages_low = limits_of(high, low, "")
        size, size_low = limits_of(high_bytes, low_bytes, "_bytes")
        checked_policy = policy_of(policy, messages, size)
        check_open(self)
        check_thread(self, "set_write_buffer_limits")
        self.out.set_limits(messages, messages_low, size, size_low, checked_policy)
        check_levels(self)

    def get_write_buffer_limits(self):
        """(high, low, high_bytes, low_bytes): messages and bytes; None where there is no limit."""
        return tuple([
            None if limit == UNLIMITED else limit
            for limit in (self.out.high, self.out.low, self.out.high_bytes, self.out.low_bytes)
        ])

    def get_write_buffer_size(self):
        """How many messages wait to be handed to libzmq."""
        return queued_messages(self)

    def get_write_buffer_bytes(self):
        """How many bytes the frames have of all messages that wait to be handed to libzmq."""
        return queued_bytes(self)

    def on_drain(self, callback):
        """Call `callback()` each time that the queue, having been too long, has fallen to `low`.

        The loop calls it, as by call_soon(). See set_write_buffer_limits(). None ends it. Raises as
        on_recv() does.
        """
        self.drain_callback = register(self, callback, "on_drain")

    def drain(self):
        """Await room in the queue: until it has fallen to `low`, if it is longer than `high`.

        Without limits (see set_write_buffer_limits()): until it is empty. Where there is nothing to
        wait for, `await stream.drain()` does not wait for the loop.

        Raises OSError, when awaited, if the stream is closed, or was closed meanwhile.
        """
        cdef bint limited = self.out.has_limits()
        if self.state != CLOSED and (
            not self.out.above_high if limited else queued_messages(self) == 0
        ):
            # one of its own: as_completed() makes a set of what it is given
            return AwaitedNothing.__new__(AwaitedNothing)
        return awaited_level(self, not limited)

    def _emptied(self):
        """Await an empty queue."""
        return awaited_level(self, True)

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
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative: {limit}")
        check_open(self)
        check_thread(self, "flush")
        return flush_stream(self, flag, INT_MAX if limit is None else min(limit, INT_MAX))

    # -- budgets and statistics -----------------------------------------------------------------

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
        cdef double duration = number_of(seconds, "set_turn_limits: seconds")
        if not isinstance(messages, int):
            raise TypeError(f"set_turn_limits: messages must be an int, not {type(messages).__name__}")
        if messages < 1:
            raise ValueError(f"set_turn_limits: messages must be at least 1: {messages}")
        if not duration * 1e9 >= 1:
            raise ValueError(f"set_turn_limits: seconds must be more than 0: {seconds}")
        check_open(self)
        check_thread(self, "set_turn_limits")
        self.turn_messages = min(messages, INT_MAX)
        self.turn_ns = seconds_ns(duration)
        if self.waiters is not None:
            start_fairness(self)

    def set_callback_timing(self, bint enabled):
        """Have the time that callbacks take counted, for stats(): two looks at a clock for each."""
        check_thread(self, "set_callback_timing")
        self.runner.time_for_stats(enabled)

    def _stats(self):
        """The values of a StreamStats."""
        cdef Py_ssize_t queued = queued_messages(self)
        return (
            self.counts.messages_in, self.counts.bytes_in, self.counts.messages_out,
            self.counts.bytes_out, self.counts.errors, self.counts.dropped, self.counts.expired,
            queued, queued_bytes(self), max(queued, self.out.peak_queued),
            self.counts.turns, self.counts.turns_cut, self.repaired,
            self.runner.callback_ns * 1e-9 if self.runner.timed_for_stats else None,
        )

    # -- the socket, and the end ----------------------------------------------------------------

    @property
    def socket(self):
        """The `zmq.Socket`; None when closed. Use of it can swallow events: they are looked for."""
        self.touch()
        return None if self.state == CLOSED else self.py_socket

    def _open_socket(self):
        """The socket of a stream that is open."""
        check_open(self)
        check_thread(self, "socket")
        return self.socket

    def _set_monitor(self, monitor):
        """Have another monitor, or none: see on_monitor()."""
        cdef object old = self._monitor
        check_usable(self)
        check_thread(self, "on_monitor")
        self._monitor = monitor
        if old is not None:
            old.close()

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
        check_linger(linger)
        if self.state == CLOSED:
            close_again(self, linger)
            return
        check_thread(self, "close")
        if self.handle() is NULL:
            closed_directly(self)
        else:
            close_stream(self, linger, True)

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
        cdef Callback registered = new_callback(callback, "close")
        if callback is not None:
            check_open(self)
        if self.state != CLOSED:
            check_thread(self, "set_close_callback")
        self.close_callback = registered

    def _begin_close(self, task):
        """aclose() begins, in `task`: nothing is received any more, and what is queued may be sent."""
        check_usable(self)
        check_thread(self, "aclose")
        set_receiver(self, None, True, False, 0, None)
        self.closing = True
        waiters_of(self).closing_tasks.add(task)
        wake_futures(self, self.waiters.take_receivers())

    def _end_close(self, task):
        """aclose() has ended in `task`."""
        waiters_of(self).closing_tasks.discard(task)

    def _callback_tasks(self):
        """A set of the coroutine callbacks that are alive, without those that wait for its end."""
        return self.runner.alive() - waiters_of(self).closing_tasks
