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


cdef str endpoint(Stream self):
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


cdef int check_open(Stream self) except -1:
    if self.state == CLOSED:
        if self.reactor is None:
            raise RuntimeError(f"{type(self).__name__}.__init__() was not called")
        raise OSError("Stream is closed")
    self.reactor.check_process()
    if self.handle() is NULL:
        closed_directly(self)
        raise OSError("Stream is closed: its socket was closed directly")
    return 0


cdef int check_usable(Stream self) except -1:
    """As check_open(), and its loop must still be there.

    Bytecode runs in check_loop() alone, and there another thread may close the stream: so that
    comes first, and what follows is true until the caller runs some.
    """
    if self.reactor is not None and self.reactor.current is None:
        self.reactor.check_loop()
    if self.state == CLOSED or self.handle() is NULL:
        check_open(self)
    return self.reactor.check()


cdef int check_thread(Stream self, str method) except -1:
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


# -- the public face: receiving -------------------------------------------------------------


cdef int set_receiver(
    Stream self, object callback, bint copy, bint with_stream, Py_ssize_t batch, object max_concurrency,
) except -1:
    if max_concurrency is not None:
        if not isinstance(max_concurrency, int):
            raise TypeError(
                f"on_recv: max_concurrency must be an int, not {type(max_concurrency).__name__}")
        if max_concurrency < 1:
            raise ValueError(f"on_recv: max_concurrency must be at least 1: {max_concurrency}")
    check_usable(self)
    check_thread(self, "on_recv")
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


# -- the public face: outcomes --------------------------------------------------------------


# -- budgets and statistics -----------------------------------------------------------------


# -- flush ----------------------------------------------------------------------------------


# -- the end --------------------------------------------------------------------------------


cdef int closed_directly(Stream self) except -1:
    """The socket was closed behind our back: close the stream, and warn."""
    release(self, None, False)
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


cdef int release(Stream self, object linger, bint drain) except -1:
    """Be closed: first for threads that send, then for the loop, for libzmq and for the user."""
    cdef State before = self.state
    cdef Py_ssize_t unsent = 0
    self.last_endpoint = endpoint(self)
    self.become(CLOSED)  # what a thread sends from now on is refused, and not lost
    try:
        if not 0 <= self.reactor.generation != fork_generation:  # nothing of a parent's is ours
            if drain:
                unsent = last_drain(self)
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
        end_queues(self)
    finally:
        try:
            end_flow(self)
            end_awaiting(self)
            cancel_alive(self)
            if self._monitor is not None:
                self._monitor.close()
        finally:
            close_for_good(self, linger, unsent)
    return 0


cdef int close_for_good(Stream self, object linger, Py_ssize_t unsent) except -1:
    cdef object callback = self.close_callback, context = self.close_context
    self.parts = self.part_extras = self.out.parked = None
    self.out.queue.clear()
    self.out.parked_count = self.out.queued = self.out.queued_bytes = 0
    self.sock = self.origin = self._monitor = None
    self.recv_callback = self.recv_context = self.send_callback = self.send_context = None
    self.err_callback = self.err_context = self.close_callback = self.close_context = None
    try:
        close_socket(self, linger)
    finally:
        if unsent:
            _logger.warning(
                "%r: %d queued messages could not be handed to libzmq and are lost", self, unsent)
        if callback is not None:
            call_back(self, "the close callback", callback, (), context, False)
    return 0


cdef int end_queues(Stream self) except -1:
    """Tell coroutines that await a message's way out that it will not go."""
    cdef SendQueue queue
    if self.out.parked:
        for queue in self.out.parked.values():
            end_queue(self, queue)
    return end_queue(self, self.out.queue)


cdef int end_queue(Stream self, SendQueue queue) except -1:
    cdef SendExtra extra
    if queue.extras:
        for extra in queue.extras:
            if extra.queue is not None and extra.awaited is not None:
                (<AwaitedSend> extra.awaited).tell(not_handed_over(), None)
    return 0


cdef int cancel_alive(Stream self) except -1:
    """Cancel the coroutines of on_recv() that were bounded, but for the one that closes us."""
    cdef object loop = self.reactor.loop
    if self.alive and not loop.is_closed():
        current = asyncio.current_task(loop)
        for task in list(self.alive):
            if task is not current:
                task.cancel()
    return 0


cdef int close_socket(Stream self, object linger) except -1:
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
