# The end of a stream: by close(), by an error of its socket, or because the socket was closed directly.

cdef int check_linger(object linger) except? -1:
    """Raise now, and not when half is closed."""
    if linger is None:
        return 0
    if not isinstance(linger, int):
        raise TypeError(f"linger is None or milliseconds, an int, not {type(linger).__name__}")
    return linger  # or OverflowError


cdef int close_stream(Stream self, object linger, bint drain) except -1:
    """Close: first for threads that send, then for the loop, for libzmq and for the user."""
    cdef bint forked = self.state == FORKED
    endpoint(self)  # it can be asked for after the end
    close_for_senders(self)
    self.changes += 1
    try:
        if not forked:  # nothing of the parent's is ours
            hand_over_all(self, drain)
    finally:
        try:
            self.reactor.remove(self)
            end_waits(self)
            self.runner.cancel_bounded()
            if self._monitor is not None:
                self._monitor.close()
        finally:
            close_for_good(self, linger)
    return 0


cdef int hand_over_all(Stream self, bint drain) except -1:
    """What can still be handed over is, and what cannot is counted."""
    if has_mail(self):
        collect_mail(self)
    self._lost = last_drain(self) if drain else 0
    self._lost += self.out.queued
    self._lost += 0 if self.parts is None else len(self.parts)
    self._lost += 0 if self.unreported is None else len(self.unreported)
    return 0


cdef int close_for_good(Stream self, object linger) except -1:
    """Release what it holds, close the socket, and tell the user."""
    cdef Callback callback = self.close_callback
    if self.parts is not None:
        self.parts.clear()
    self.release_socket()
    self._monitor = None
    self.receiver = None
    set_listeners(self, None, None)
    self.drain_callback = self.close_callback = None
    try:
        close_socket(self, linger)
    finally:
        if self._lost:
            _logger.warning(
                "%r: %d queued messages could not be handed to libzmq and are lost", self, self._lost)
        if callback is not None:
            call_back(self, callback, (), False)
    return 0


cdef int close_again(Stream self, object linger) except -1:
    """Do what failed the first time."""
    if self.index >= 0:
        self.reactor.remove(self)
    end_waits(self)
    if self.py_socket is not None:
        close_socket(self, linger)
    return 0


cdef int end_waits(Stream self) except -1:
    """Wake all that wait for the stream. What raises here is done by the next close()."""
    end_deliveries(self)
    self.out.clear()
    end_flow(self)
    wake_all(self)
    return 0


cdef int close_socket(Stream self, object linger) except -1:
    cdef object socket = self.py_socket, shadowed = self.shadowed
    if socket is None:
        return 0  # it has another owner: see left_open() and SocketStream
    with cython.critical_section(self):
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
    open_sockets.pop(id(self), None)
    return 0


# -- left open --------------------------------------------------------------------------------------
# A stream that nobody has closed, and to which nothing refers any more, gives a warning and releases
# its socket. So does, without the release, a stream that is open when the program ends.
#
# Often its context is garbage, too. pyzmq's Context.__del__() waits until all sockets are closed and
# their messages are sent, and the garbage collector calls finalizers in any order. So what is open is
# kept alive from outside, until the finalizer of its stream has run.
#
# Others may refer to the socket, and they may be garbage or not. So the stream does not close it:
# CloseUnowned does, when the last reference to it is gone.

cdef enum:
    LEFT_OPEN_LINGER = 500  # milliseconds that libzmq has for messages, where LINGER is without end


# The socket of each open stream, by the stream's address.
cdef dict open_sockets = {}

# All of these streams, without the GIL: what is at an address may be freed by another thread there.
cdef object streams = weakref.WeakSet() if zs_free_threaded else None

# What is open now stays open until the process has ended.
cdef bint exiting = False

# A weak reference, with its callback, to each socket that a stream has left open.
cdef set unowned = set()


@cython.final
cdef class CloseUnowned:
    """Closes a socket when it is garbage, unless it was closed before. A weak reference's callback."""

    def __call__(self, reference):
        # The socket's memory is freed only after its weak references have had their callbacks.
        cdef int linger = 0
        cdef size_t size = sizeof(int)
        unowned.discard(reference)
        if self.handle[0] is NULL or self.closed[0] or self.pid != os.getpid():
            return
        if lib.getsockopt(self.handle[0], OPT_LINGER, &linger, &size) == 0:
            if linger < 0:
                linger = LEFT_OPEN_LINGER
                lib.setsockopt(self.handle[0], OPT_LINGER, &linger, size)
        elif lib.last_error() == ENOTSOCK:  # it was closed by a shadow
            return
        lib.close(self.handle[0])
        self.handle[0] = NULL
        self.closed[0] = True


cdef int close_when_unowned(Socket socket) except -1:
    """Let `socket`, which is not a shadow, be closed with a bounded linger if nobody closes it."""
    cdef CloseUnowned callback = CloseUnowned()
    callback.handle = &socket.handle
    callback.closed = &socket._closed
    callback.pid = socket._pid
    unowned.add(weakref.ref(socket, callback))
    (<object> socket)._shadow = True  # pyzmq's finalizer would close it first, without a bound
    return 0


cdef int warn_unclosed(Stream self) except -1:
    try:
        warnings.warn(f"unclosed {name_of(self)}", ResourceWarning, source=self)
    except Warning as warning:  # warnings are errors here: report it, as no call is at fault
        PyErr_SetObject(type(warning), warning)
        PyErr_WriteUnraisable(self)
    return 0


cdef int left_open(Stream self) except -1:
    """A stream is garbage, and was not closed."""
    cdef object _kept
    if exiting or zs_is_finalizing():  # its socket stays in open_sockets, and so its context never waits
        return 0
    _kept = open_sockets.pop(id(self), None)  # its socket lives until the end of this
    if self.state == FORKED or self.origin._pid != os.getpid():
        return 0
    self.close_callback = None  # it would run in the middle of anything
    warn_unclosed(self)
    if not (<object> self.origin)._shadow:  # nor a socket that another stream has left open
        close_when_unowned(self.origin)
    self.py_socket = self.shadowed = None
    return close_stream(self, None, True)


cdef Stream stream_at(object address):
    """The open stream at this address; None: another thread has just closed it."""
    if not zs_free_threaded:
        return <Stream> <PyObject *> <uintptr_t> address
    for reference in list(streams.data):
        stream = reference()
        if stream is not None and id(stream) == address:
            return stream
    return None


def _warn_at_exit():
    """Warn of what is open. Finalizers that run later may have no warnings to use, and do nothing."""
    global exiting
    cdef Stream stream
    for address in list(open_sockets):
        if address in open_sockets:  # a warning may have run the garbage collector
            stream = stream_at(address)
            if stream is not None and stream.state != FORKED:
                warn_unclosed(stream)
    exiting = True


atexit.register(_warn_at_exit)


cdef int end_deliveries(Stream self) except -1:
    """Tell coroutines that await a queued message that it will not be sent."""
    cdef Ring ring
    cdef Delivery delivery
    for ring in [*(self.out.parked or {}).values(), self.out.ring]:
        for delivery in ring.deliveries or ():
            if delivery.ring is ring and delivery.awaited is not None and not delivery.awaited.reported:
                delivery.awaited.report(not_handed_over(), None)
    return 0


cdef int closed_by_error(Stream self, object error) except -1:
    """The context was terminated."""
    cdef Callback callback = self.err_callback
    self.close_reason = error
    # first of all: the context waits for its sockets, and on_err may do anything
    close_stream(self, None, False)
    if callback is not None:
        call_back(self, callback, (error,), False)
    return 0


cdef int closed_directly(Stream self) except -1:
    """The socket was closed behind our back: close the stream, and warn."""
    close_stream(self, None, False)
    try:
        warnings.warn(  # it begins as pyzmq's, so that filters of programs find it
            f"Unregistering FD {self.fd} after closing socket: that of {name_of(self)} was closed "
            "directly; use stream.close() instead, which unregisters it first and loses no "
            "queued messages",
            stacklevel=1,
        )
    except Warning as warning:  # warnings are errors here: report it, as no call is at fault
        report(self.reactor.loop, "closing", self, None, warning)
    return 0


cdef str endpoint(Stream self):
    """Where the socket was bound or connected last; "" if nowhere.

    Without the GIL, other threads get what the stream's own thread was last told.
    """
    cdef char last[257]
    cdef size_t size = sizeof(last)
    cdef void *handle
    cdef str found
    if zs_load_state(&self.state) < CLOSED and not owned_elsewhere(self):
        handle = self.handle()
        if handle is not NULL and lib.getsockopt(handle, OPT_LAST_ENDPOINT, last, &size) == 0:
            found = last[:size].rstrip(b"\0").decode("utf-8", "replace")
            with cython.critical_section(self):
                self.last_endpoint = found
    with cython.critical_section(self):
        return self.last_endpoint or ""
