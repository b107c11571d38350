# The class: what its reactor calls, and its public face, which delegates.


cdef class Stream(Source):
    def __cinit__(self, *args, **kwargs):
        self.out = Outbox()
        self.runner = CallbackRunner()
        if zs_free_threaded:  # with the GIL, they are made when they are used
            self.mailbox = Mailbox()
            self.parts = {}
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
            take_over(self, socket, fd)
            open_sockets[id(self)] = socket if shadowed is None else shadowed
            if zs_free_threaded:
                streams.add(self)
            self.open_source(socket, origin_of(socket), fd, reactor)
        except BaseException:
            open_sockets.pop(id(self), None)
            self.py_socket = self.shadowed = self.reactor = None
            raise

    def __del__(self):
        if self.py_socket is not None:
            left_open(self)

    def __repr__(self):
        cdef str name = type(self).__name__
        if self.reactor is None:
            return f"<{name}, not initialised>"
        kind, state, where = self._where()
        return (
            f"<{name}(zmq.{kind}) at {id(self):#x}, {state}{f', {where}' if where else ''}"
            f", in {self.counts.messages_in}, out {self.counts.messages_out}"
            f", queued {queued_messages(self)}, {self.reactor.kind} loop>"
        )

    def _where(self):
        """The socket's type, the stream's state, and its endpoint."""
        return (
            zmq.SocketType(self.socket_type).name,
            ("idle", "armed", "ready", "closed", "forked")[zs_load_state(&self.state)],
            endpoint(self),
        )

    def _waiting(self):
        """How many receivers wait for a message."""
        with cython.critical_section(self):
            return 0 if self.waiters is None else len(self.waiters.receivers)

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
        if self.waiters is not None:
            interest |= self.waiters.poll_mask
            if self.waiters.wants_message:
                interest |= POLLIN
        return interest

    cdef int effective_interest(self, int events) except -1:
        cdef int interest
        if events & POLLIN and self.waiters is not None and self.waiters.wants_message:
            wake_receiver(self)
        interest = self.interest()
        if events & interest & POLLOUT:
            shows_pollout(self)
        if self.write == POLLED and not (self.waiters is not None and self.waiters.poll_mask & POLLOUT):
            interest &= ~POLLOUT
        return interest

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

    def _report_refusal(self, message, Delivery delivery, error):
        self.counts.errors += 1
        if self.state >= CLOSED:
            _logger.error("%r: a message could not be sent: %s", self, error)
        else:
            report_outcome(
                self, tuple(message) if type(message) is list else message, delivery, error, False)

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
        """Call `callback(msg)` for each message that arrives. It replaces the previous callback.

        Parameters
        ----------
        callback : callable or None
            Gets the message, which is always a list of frames. The callback may be a coroutine
            function; its coroutines start in the order of the messages. It runs in the contextvars
            context of this call. None: stop receiving; messages then wait in libzmq.
        copy : bool
            True: frames are `bytes`. False: frames are `zmq.Frame` objects that use libzmq's memory.
        max_concurrency : int, optional
            The largest number of coroutines of this callback that run at a time. When it is reached,
            messages wait in libzmq until a coroutine ends. With 1 they run one after another. close()
            cancels the coroutines, aclose() awaits them. None: no limit.

        Raises
        ------
        TypeError
            `callback` is not callable. The error is an AssertionError too.
        TypeError, ValueError
            `max_concurrency` is not an int of at least 1.
        OSError
            The stream is closed.
        RuntimeError
            The loop is closed, the stream belongs to the parent process (after fork), or a coroutine
            is waiting for a message.
        """
        check_callable(callback, "on_recv")
        set_receiver(self, callback, copy, False, 0, max_concurrency)

    def _on_recv_stream(self, callback, bint copy, max_concurrency):
        check_callable(callback, "on_recv_stream")
        set_receiver(self, callback, copy, True, 0, max_concurrency)

    def on_recv_batch(self, callback, bint copy=True, limit=256, *, max_concurrency=None):
        """Call `callback(messages)` with all messages that have arrived, a list of lists of frames.

        A batch has at most `limit` messages, and not more than a turn (see set_turn_limits()). In a
        flush every batch has one message. Everything else is as for on_recv(), whose callback this
        one replaces. Raises TypeError or ValueError if `limit` is not an int of at least 1.
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
        """Await a message: `await stream.recv_multipart()` returns the list of its frames.

        If a message has arrived, the caller gets it without waiting for the loop. After as many such
        messages as a turn may have (see set_turn_limits()), the caller waits for one iteration of the
        loop. Coroutines that wait get messages in the order of their calls. Cancelling a coroutine
        loses no message, because a message is received only when the coroutine returns it.

        Parameters
        ----------
        copy : bool
            True: frames are `bytes`. False: frames are `zmq.Frame` objects that use libzmq's memory.

        Raises, when awaited
        --------------------
        OSError
            The stream is closed, or was closed during the wait.
        RuntimeError
            The stream has a receive callback (see on_recv()), or another event loop is running.
        zmq.ZMQError
            An error of libzmq: zmq.ContextTerminated; EFSM if a REQ or REP socket must send next;
            ENOTSUP if the socket can only send. zmq.Again after the socket's RCVTIMEO.
        """
        return awaited_message(self, MESSAGE, copy)

    def recv(self, bint copy=True):
        """Await a message of one frame, and return the frame. See recv_multipart().

        Raises, when awaited
        --------------------
        MultipartMessageError
            The message has more frames. The error is a ValueError; its `message` has the frames.
        """
        return awaited_message(self, FRAME, copy)

    def __aiter__(self):
        """`async for message in stream` yields lists of `bytes` until the stream is closed."""
        return self

    def __anext__(self):
        return awaited_message(self, ITEM, True)

    # -- sending --------------------------------------------------------------------------------

    def send_multipart(
        self, msg, int flags=0, bint copy=True, bint track=False, callback=None, *, timeout=None,
        **kwargs
    ):
        """Queue a message. The loop hands it to libzmq as soon as libzmq accepts it.

        May be called from any thread. The list, and with `copy` also its buffers, may be changed after
        the call; the message is sent as it was at the call.

        Parameters
        ----------
        msg : list
            The frames: bytes, other bytes-like objects or `zmq.Frame` objects.
        flags : int
            Flags of zmq_msg_send(3), such as zmq.SNDMORE. DONTWAIT is always set.
        copy : bool
            False: libzmq uses the memory of frames of at least `socket.copy_threshold` bytes. That
            memory must not change until the message has been sent.
        track : bool
            With `copy=False`: the status given to the callback is a `zmq.MessageTracker`.
        callback : callable, optional
            `callback(msg, status)` is called for this message, instead of the callback of on_send().
        timeout : float, optional
            Seconds. If libzmq has not accepted the message by then, it leaves the queue and fails with
            MessageExpired. Messages behind it do not wait for it.

        Raises
        ------
        TypeError
            A frame cannot be sent. The error names the frame, and no frame is queued.
        ValueError
            `msg` has no frame, `track` is true but a `zmq.Frame` was created without tracking, or
            `timeout` is not above 0.
        zmq.Again
            The queue is full, and the policy of set_write_buffer_limits() is "raise".
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
            check_sendable(self)
            send_frames(self, msg, flags, None)
        else:
            send_message(self, (msg,), flags, copy, track, callback, timeout)

    def asend_multipart(
        self, msg, int flags=0, bint copy=True, bint track=False, *, timeout=None
    ):
        """Send a message, and return an awaitable that is done when libzmq has accepted the message.

        The message is handed to libzmq at once if the queue is empty and libzmq accepts it. Otherwise
        it is queued. The message is sent even if the caller does not await the result. If the awaiting
        coroutine is cancelled while the message is queued, the message leaves the queue. The outcome
        is reported to the awaiting coroutine, and a failure to on_err() too, but never to on_send().
        The limits of set_write_buffer_limits() do not apply to the message.

        The parameters are those of send_multipart(). The awaited result is that of a socket's
        send_multipart(): None, or with `copy=False` a zmq.MessageTracker. Without `track=True` that
        tracker is always done.

        Raises
        ------
        TypeError, ValueError, OSError, RuntimeError
            As for send_multipart(), at the call.
        zmq.ZMQError
            When awaited: an error of libzmq, such as EHOSTUNREACH, EFSM or zmq.ContextTerminated;
            MessageExpired after `timeout` seconds; zmq.Again after the socket's SNDTIMEO, if there is no
            `timeout`; MessageDropped if the policy "drop_oldest" has
            dropped the message for a newer one. OSError if the stream was closed.
        """
        return send_awaited(self, msg, flags, copy, track, timeout)

    def asend(self, msg, int flags=0, bint copy=True, bint track=False, *, timeout=None):
        """Send a message of one frame, `msg`. See asend_multipart()."""
        return send_awaited(self, (msg,), flags, copy, track, timeout)

    def sending(self):
        """Whether messages are queued."""
        return queued_messages(self) > 0

    # -- outcomes -------------------------------------------------------------------------------

    def on_send(self, callback):
        """Call `callback(msg, status)` for each message that was sent or has failed.

        `msg` is the list of frames. `status` is None if the message was sent, or its
        `zmq.MessageTracker` if it was sent with `copy=False, track=True`. If it failed, `status` is the
        `zmq.ZMQError`. A message with its own callback is reported to that one only. `on_send(None)`
        removes the callback. Raises the errors of on_recv().
        """
        self._set_on_send(callback, "on_send", False)

    def _on_send_stream(self, callback):
        self._set_on_send(callback, "on_send_stream", True)

    def _set_on_send(self, callback, str where, bint with_stream):
        cdef Callback registered = register(self, callback, where)
        if registered is not None:
            registered.what = "the on_send callback"
            registered.with_owner = with_stream
        set_listeners(self, registered, self.err_callback)

    def on_err(self, callback):
        """Call `callback(error)` for each error of the socket. The error is a `zmq.ZMQError`.

        Errors are failed sends, failed receives and a terminated context (`zmq.ContextTerminated`,
        after which the stream is closed). `on_err(None)` removes the callback. Raises the errors of
        on_recv().
        """
        set_listeners(self, self.send_callback, register(self, callback, "on_err"))

    # -- flow control ---------------------------------------------------------------------------

    def set_write_buffer_limits(
        self, high=None, low=None, *, high_bytes=None, low_bytes=None, policy="wait"
    ):
        """Limit the queue of messages that libzmq has not accepted yet.

        libzmq has its own queues behind this one; SNDHWM limits those.

        Parameters
        ----------
        high, low : int, optional
            Messages. A queue with more than `high` messages is too long until it has fallen to `low`,
            by default a quarter of `high`. None: no limit.
        high_bytes, low_bytes : int, optional
            The same limits for the bytes of all frames in the queue.
        policy : str
            What happens to a message that exceeds `high`:

            "wait": it is queued. `await drain()` waits for room, and on_drain() reports it.
            "raise": the send raises QueueFull, which is a zmq.Again, and queues nothing.
            "drop_newest": it is dropped.
            "drop_oldest": it is queued, and the oldest message is dropped.

            A drop is reported to the callbacks of on_send() and on_err() as MessageDropped. Without
            a callback, one warning is logged until the queue has fallen to `low`. stats() counts
            drops. A message is never refused or dropped for its own size alone.

        Raises
        ------
        TypeError, ValueError
            A limit is not an int or is negative, `low` is more than `high`, or the policy is unknown.
            A policy other than "wait" needs a limit of at least 1.
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
        """(high, low, high_bytes, low_bytes), in messages and bytes. None means no limit."""
        return tuple([
            None if limit == UNLIMITED else limit
            for limit in (
                zs_load_count(&self.out.high), zs_load_count(&self.out.low),
                zs_load_count(&self.out.high_bytes), zs_load_count(&self.out.low_bytes))
        ])

    def get_write_buffer_size(self):
        """The number of queued messages."""
        return queued_messages(self)

    def get_write_buffer_bytes(self):
        """The number of bytes in the frames of all queued messages."""
        return queued_bytes(self)

    def on_drain(self, callback):
        """Call `callback()` each time that a queue that was too long has fallen to `low`.

        The callback is scheduled as by call_soon(). See set_write_buffer_limits(). `on_drain(None)`
        removes the callback. Raises the errors of on_recv().
        """
        self.drain_callback = register(self, callback, "on_drain")

    def drain(self):
        """Await room in the queue: if it is longer than `high`, wait until it has fallen to `low`.

        Without limits (see set_write_buffer_limits()), wait until the queue is empty. If there is room
        already, `await stream.drain()` does not wait for the loop.

        When awaited, raises OSError if the stream is closed, or was closed during the wait.
        """
        cdef bint limited = self.out.has_limits()
        if self.state != CLOSED and (
            not self.out.above_high if limited else queued_messages(self) == 0
        ):
            # A new object each time, because asyncio.as_completed() makes a set of its awaitables.
            return AwaitedNothing.__new__(AwaitedNothing)
        return awaited_level(self, not limited)

    def _emptied(self):
        """Await an empty queue."""
        return awaited_level(self, True)

    def flush(self, int flag=POLLIN | POLLOUT, limit=None):
        """Receive and send now, without the loop and without waiting.

        An exception of a callback is raised to the caller; the other messages stay pending.

        Parameters
        ----------
        flag : int
            zmq.POLLIN: receive messages, and drop them if there is no receive callback. zmq.POLLOUT:
            hand queued messages to libzmq.
        limit : int, optional
            The largest number of messages to receive and send, in sum.

        Returns
        -------
        int
            The number of messages that were received and sent.

        Raises
        ------
        OSError
            The stream is closed.
        ValueError
            `limit` is negative.
        RecursionError
            The flush is nested so deeply in callbacks that another one could not be called.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit must not be negative: {limit}")
        check_open(self)
        check_thread(self, "flush")
        return flush_stream(self, flag, INT_MAX if limit is None else min(limit, INT_MAX))

    # -- budgets and statistics -----------------------------------------------------------------

    def set_turn_limits(self, messages=TURN_MESSAGES, seconds=TURN_NS * 1e-9):
        """Limit the turn that the loop gives this stream before it serves other streams.

        Parameters
        ----------
        messages : int
            The largest number of messages received and sent in one turn.
        seconds : float
            The time after which a turn ends. A callback that is running then is not interrupted.

        Raises
        ------
        TypeError, ValueError
            `messages` is not an int of at least 1, or `seconds` is not a number above 0.
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
        """Measure the time of callbacks for stats(), at the cost of two clock reads a callback."""
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
        """The `zmq.Socket`, or None if the stream is closed.

        Other use of the socket can swallow events; the loop checks for them after each access.
        """
        if zs_load_state(&self.state) == CLOSED:
            return None
        if is_elsewhere(self):
            with cython.critical_section(self):
                return self.py_socket
        self.touch()
        return self.py_socket

    def _open_socket(self):
        """The socket. Raises OSError if the stream is closed."""
        check_open(self)
        check_thread(self, "socket")
        return self.socket

    def _set_monitor(self, monitor):
        """Set the monitor of on_monitor(), or None, and close the previous one."""
        cdef object old = self._monitor
        check_usable(self)
        check_thread(self, "on_monitor")
        self._monitor = monitor
        if old is not None:
            old.close()

    def close(self, linger=None):
        """Close the stream and its socket. Idempotent. Callbacks may call it too.

        close() first hands as many queued messages to libzmq as libzmq accepts without waiting. LINGER
        applies to these (see zmq_close(3)). The number of the other messages is logged. After close()
        only the callback of set_close_callback() runs.

        Parameters
        ----------
        linger : int, optional
            The socket's LINGER in milliseconds. None leaves it unchanged.
        """
        check_linger(linger)
        if zs_load_state(&self.state) == CLOSED:
            if not is_elsewhere(self):
                close_again(self, linger)
            return
        check_thread(self, "close")
        if self.handle() is NULL:
            closed_directly(self)
        else:
            close_stream(self, linger, True)

    def closed(self):
        """Whether the stream is closed. If its socket is closed, the stream is closed too."""
        if zs_load_state(&self.state) == CLOSED:
            return True
        if is_elsewhere(self):
            return False
        if self.py_socket.closed:
            check_thread(self, "closed")
            closed_directly(self)
            return True
        return False

    def set_close_callback(self, callback):
        """Call `callback()` once when the stream is closed. None removes the callback.

        Raises OSError if the stream is closed already, because the callback would never be called.
        """
        cdef Callback registered = new_callback(callback, "close")
        if callback is not None:
            check_open(self)
        if self.state != CLOSED:
            check_thread(self, "set_close_callback")
        self.close_callback = registered

    def _begin_close(self, task):
        """Stop receiving, and do not wait for `task`, which runs aclose(). Sending continues."""
        check_usable(self)
        check_thread(self, "aclose")
        set_receiver(self, None, True, False, 0, None)
        self.closing = True
        waiters_of(self).closing_tasks.add(task)
        end_socket_waiters(self)
        wake_receivers(self)

    def _end_close(self, task):
        """The aclose() in `task` has ended."""
        waiters_of(self).closing_tasks.discard(task)

    def _callback_tasks(self):
        """The set of tasks of coroutine callbacks, without those that run aclose()."""
        return self.runner.alive() - waiters_of(self).closing_tasks
