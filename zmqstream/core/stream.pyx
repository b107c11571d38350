# One stream's life.
#
# The rules
# ---------
# - A stream is IDLE, ARMED, READY or CLOSED (see reactor.pyx). It leaves a turn and a flush only
#   through settle(), with an exception or without.
# - In a turn: receive a message, call its callback, hand over what the callback sent, and again,
#   until libzmq has no more or the budget is spent.
# - User code is called in receive_loop() (on_recv in a turn), flush_receive() (on_recv in a flush)
#   and call_back() (everything else), and nowhere else. It may do anything to the stream: close
#   it, flush it, replace or remove its callbacks, send, raise, close the raw socket, run the loop.
#   `changes` grows with each of these that a loop over messages must notice, and handle() is asked
#   anew before each libzmq call.
# - A message leaves the queue before anybody is told of it.

cdef class Stream(Awaiting):
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
            self.check_thread("__init__")
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
            self.endpoint(),
        )

    cdef str endpoint(self):
        """Where the socket was bound or connected last; "" if nowhere."""
        cdef char last[257]
        cdef size_t size = sizeof(last)
        cdef void *handle
        if self.state != CLOSED and self.reactor.generation == fork_generation:
            handle = self.handle()
            if handle is not NULL and lib.getsockopt(handle, OPT_LAST_ENDPOINT, last, &size) == 0:
                return last[:size].rstrip(b"\0").decode("utf-8", "replace")
        return self.last_endpoint or ""

    # -- what the state allows ------------------------------------------------------------------

    cdef int check_open(self) except -1:
        if self.state == CLOSED:
            if self.reactor is None:
                raise RuntimeError(f"{type(self).__name__}.__init__() was not called")
            raise OSError("Stream is closed")
        self.reactor.check_process()
        if self.handle() is NULL:
            self.closed_directly()
            raise OSError("Stream is closed: its socket was closed directly")
        return 0

    cdef int check_usable(self) except -1:
        """As check_open(), and its loop must still be there.

        Bytecode runs in check_loop() alone, and there another thread may close the stream: so that
        comes first, and what follows is true until the caller runs some.
        """
        if self.reactor is not None and self.reactor.current is None:
            self.reactor.check_loop()
        if self.state == CLOSED or self.handle() is NULL:
            self.check_open()
        return self.reactor.check()

    cdef int check_thread(self, str method) except -1:
        """In debug mode: a running loop is the running loop of its own thread, and of no other.

        (In a child that was forked in a callback, the parent's loop looks as if it ran on.)
        """
        if self.debug and self.reactor.generation == fork_generation and self.reactor.loop.is_running():
            if asyncio._get_running_loop() is not self.reactor.loop:
                raise RuntimeError(
                    f"{type(self).__name__}.{method} was used in thread "
                    f"{threading.current_thread().name!r}, and its loop runs in another; only send "
                    f"and its like may be: use loop.call_soon_threadsafe(), or add_callback() of an IOLoop"
                )
        return 0

    cdef int orphan(self) except -1:
        self.changes += 1
        return Source.orphan(self)

    # -- the public face: receiving -------------------------------------------------------------

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
        self.set_receiver(check_callback(callback, "on_recv"), copy, False, 0, max_concurrency)

    def _on_recv_stream(self, callback, bint copy, max_concurrency):
        self.set_receiver(
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
        self.set_receiver(callback, copy, False, min(limit, INT_MAX), max_concurrency)

    cdef int set_receiver(
        self, object callback, bint copy, bint with_stream, Py_ssize_t batch, object max_concurrency,
    ) except -1:
        if max_concurrency is not None:
            if not isinstance(max_concurrency, int):
                raise TypeError(
                    f"on_recv: max_concurrency must be an int, not {type(max_concurrency).__name__}")
            if max_concurrency < 1:
                raise ValueError(f"on_recv: max_concurrency must be at least 1: {max_concurrency}")
        self.check_usable()
        self.check_thread("on_recv")
        if callback is not None:
            if self.closing:
                raise OSError("Stream is closed: aclose() has begun")
            if self.receivers:
                raise RuntimeError(
                    f"a coroutine awaits a message of {self!r}; await its messages, or have them given to "
                    "a callback, not both")
        self.changes += 1
        self.recv_callback = callback
        self.recv_context = context_for(callback)
        self.recv_copy = copy
        self.recv_stream = with_stream
        self.recv_batch = batch
        self.max_alive = 0 if max_concurrency is None else min(max_concurrency, INT_MAX)
        if callback is not None:
            self.input_due = True
            if self.state != READY:
                self.reactor.enqueue(self)
        elif self.state == ARMED and self.wanted() == 0:
            self.become(IDLE)
        return 0

    def receiving(self):
        """Whether a receive callback is registered."""
        return self.recv_callback is not None

    # -- the public face: outcomes --------------------------------------------------------------

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
        self.check_open()
        self.check_thread(where)
        self.send_callback = callback
        self.send_context = context_for(callback)
        self.send_stream = with_stream

    def on_err(self, callback):
        """Call `callback(error)` for each error of the socket, a `zmq.ZMQError`.

        A failed send, a failed receive, a terminated context (`zmq.ContextTerminated`; the stream is
        closed then). None ends it. Raises as on_recv() does.
        """
        check_callback(callback, "on_err")
        self.check_open()
        self.check_thread("on_err")
        self.err_callback = callback
        self.err_context = context_for(callback)

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
        cdef object turn_ns = number_of(seconds, "set_turn_limits: seconds") * 1e9
        if not isinstance(messages, int):
            raise TypeError(f"set_turn_limits: messages must be an int, not {type(messages).__name__}")
        if messages < 1:
            raise ValueError(f"set_turn_limits: messages must be at least 1: {messages}")
        if not turn_ns >= 1:
            raise ValueError(f"set_turn_limits: seconds must be more than 0: {seconds}")
        self.check_open()
        self.check_thread("set_turn_limits")
        self.turn_messages = min(messages, INT_MAX)
        self.turn_ns = <int64_t> min(turn_ns, LONGEST_NS)
        self.begin_pace()

    def set_callback_timing(self, bint enabled):
        """Have the time that callbacks take counted, for stats(): two looks at a clock for each."""
        self.check_thread("set_callback_timing")
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

    # -- flush ----------------------------------------------------------------------------------

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
        self.check_open()
        self.check_thread("flush")
        budget.left = most
        budget.raising = True
        budget.unlooked = budget.looked = INT_MAX  # no clock
        budget.pace = 0
        budget.deadline = INT64_MAX
        self.running += 1
        self.blocked = False
        try:
            if flag & POLLOUT and (self.out.queue.count or self.out.parked_count):
                self.look_at_mailbox()
            if self.out.parked_count and flag & POLLOUT and budget.left:
                self.unpark(&budget)
            drained = self.flush_loop(flag, &budget)
        finally:
            self.running -= 1
            if self.state != CLOSED:
                if budget.left < most:
                    self.changes += 1
                if self.index >= 0:
                    self.leave(drained)
        return most - budget.left

    # -- the end --------------------------------------------------------------------------------

    cdef int failed(self, int code) except -1:
        """libzmq refuses the socket with error `code`."""
        cdef object error
        if self.state == CLOSED:
            return 0
        if code == ENOTSOCK:
            # nobody's call is at fault, and Python shows a warning once for each line of code
            _logger.warning("%r is attached to a closed socket", self)
            return self.closed_directly()
        error = zmq_error(code)
        self.errors += 1
        callback, context = self.err_callback, self.err_context
        if code == ETERM:
            self.ended_by = error
            # first of all: the context waits for its sockets, and on_err may do anything
            self.release(None, False)
        elif callback is None:
            _logger.error("%r: %s", self, error)
        if callback is not None:
            self.call_back("the on_err callback", callback, (error,), context, False)
        return 0

    cdef int closed_directly(self) except -1:
        """The socket was closed behind our back: close the stream, and warn."""
        self.release(None, False)
        try:
            warnings.warn(  # it begins as pyzmq's, so that filters of programs find it
                f"Unregistering FD {self.fd} after closing socket: that of {name_of(self)} was closed "
                "directly; use stream.close() instead, which unregisters it first and loses no "
                "queued messages",
                stacklevel=1,
            )
        except Warning as warning:  # warnings are errors here: let it be one of nobody's call
            report(self.reactor.loop, "closing", self, None, warning)
        return 0

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
                self.close_socket(linger)  # memory was short when it was to be closed
            return
        self.check_thread("close")
        if self.handle() is NULL:
            self.closed_directly()
        else:
            self.release(linger, True)

    cdef int release(self, object linger, bint drain) except -1:
        """Be closed: first for threads that send, then for the loop, for libzmq and for the user."""
        cdef State before = self.state
        cdef Py_ssize_t unsent = 0
        self.last_endpoint = self.endpoint()
        self.become(CLOSED)  # what a thread sends from now on is refused, and not lost
        try:
            if not 0 <= self.reactor.generation != fork_generation:  # nothing of a parent's is ours
                if drain:
                    unsent = self.last_drain()
                unsent += self.out.queued
            self.reactor.remove(self)
        except BaseException:
            self.become(before)  # memory was short: close() can be called again
            raise
        self.changes += 1
        unsent += (self.parts is not None) + (0 if self.untold is None else len(self.untold))
        self._lost = unsent
        # Memory may be short in each of these, and the next happens all the same.
        try:
            self.end_queues()
        finally:
            try:
                self.end_flow()
                self.end_awaiting()
                self.cancel_alive()
                if self._monitor is not None:
                    self._monitor.close()
            finally:
                self.close_for_good(linger, unsent)
        return 0

    cdef int close_for_good(self, object linger, Py_ssize_t unsent) except -1:
        cdef object callback = self.close_callback, context = self.close_context
        self.parts = self.part_extras = self.out.parked = None
        self.out.queue.clear()
        self.out.parked_count = self.out.queued = self.out.queued_bytes = 0
        self.sock = self.origin = self._monitor = None
        self.recv_callback = self.recv_context = self.send_callback = self.send_context = None
        self.err_callback = self.err_context = self.close_callback = self.close_context = None
        try:
            self.close_socket(linger)
        finally:
            if unsent:
                _logger.warning(
                    "%r: %d queued messages could not be handed to libzmq and are lost", self, unsent)
            if callback is not None:
                self.call_back("the close callback", callback, (), context, False)
        return 0

    cdef int end_queues(self) except -1:
        """Tell coroutines that await a message's way out that it will not go."""
        cdef SendQueue queue
        if self.out.parked:
            for queue in self.out.parked.values():
                self.end_queue(queue)
        return self.end_queue(self.out.queue)

    cdef int end_queue(self, SendQueue queue) except -1:
        cdef SendExtra extra
        if queue.extras:
            for extra in queue.extras:
                if extra.queue is not None and extra.awaited is not None:
                    (<AwaitedSend> extra.awaited).tell(not_handed_over(), None)
        return 0

    cdef int cancel_alive(self) except -1:
        """Cancel the coroutines of on_recv() that were bounded, but for the one that closes us."""
        cdef object loop = self.reactor.loop
        if self.alive and not loop.is_closed():
            current = asyncio.current_task(loop)
            for task in list(self.alive):
                if task is not current:
                    task.cancel()
        return 0

    def _begin_close(self, task):
        """aclose() begins, in `task`: nothing is received any more, and what is queued may be sent."""
        self.check_usable()
        self.check_thread("aclose")
        self.set_receiver(None, True, False, 0, None)
        self.closing = True
        if self.closers is None:
            self.closers = set()
        self.closers.add(task)
        self.end_awaiting()

    def _end_close(self, task):
        """aclose() has ended in `task`."""
        self.closers.discard(task)

    def _callback_tasks(self):
        """A set of the coroutine callbacks that are alive, without those that wait for its end."""
        return ((self.tasks or set()) | (self.alive or set())) - self.closers

    def _call_on_monitor(self, callback, event, context):
        self.call_back("the on_monitor callback", callback, (event,), context, False)
        if self.state != CLOSED:
            self.leave()

    def _set_monitor(self, monitor):
        """Have another monitor, or none: see on_monitor()."""
        cdef object old = self._monitor
        self.check_usable()
        self.check_thread("on_monitor")
        self._monitor = monitor
        if old is not None:
            old.close()

    cdef int close_socket(self, object linger) except -1:
        cdef object socket = self.py_socket, shadowed = self.shadowed
        self.py_socket = self.shadowed = None  # first: it may call us
        try:
            if shadowed is not None:
                shadowed.close(linger)  # it has readers and futures of its own to end
                socket._closed = True   # the same libzmq socket: there is nothing left to close
            else:
                socket.close(linger)
        except BaseException:
            self.py_socket, self.shadowed = socket, shadowed  # for another close()
            raise
        return 0

    def closed(self):
        """Whether the stream is closed; if its socket is, the stream is closed, too."""
        if self.state == CLOSED:
            return True
        if self.py_socket.closed:
            self.check_thread("closed")
            self.closed_directly()
            return True
        return False

    def set_close_callback(self, callback):
        """Call `callback()`, once, when the stream is closed. None ends it.

        Raises OSError if the stream is closed already: the callback would never be called.
        """
        check_callback(callback, "set_close_callback")
        if callback is not None:
            self.check_open()
        if self.state != CLOSED:
            self.check_thread("set_close_callback")
        self.close_callback = callback
        self.close_context = context_for(callback)

    def _open_socket(self):
        """The socket of a stream that is open."""
        self.check_open()
        self.check_thread("socket")
        return self.socket

    @property
    def socket(self):
        """The `zmq.Socket`; None when closed. Use of it can swallow events: they are looked for."""
        self.suspect_raw_use()
        return None if self.state == CLOSED else self.py_socket
