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
    self.last_endpoint = endpoint(self)
    close_for_senders(self)
    self.changes += 1
    try:
        if not forked:  # nothing of the parent's is ours
            hand_over_all(self, drain)
    finally:
        try:
            self.reactor.remove(self)
            end_deliveries(self)
            end_flow(self)
            wake_all(self)
            self.runner.cancel_bounded()
            if self._monitor is not None:
                self._monitor.close()
        finally:
            close_for_good(self, linger)
    return 0


cdef int hand_over_all(Stream self, bint drain) except -1:
    """What can still be handed over is, and what cannot is counted."""
    if self.mailbox is not None and self.mailbox.has_mail:
        collect_mail(self)
    self._lost = last_drain(self) if drain else 0
    self._lost += self.out.queued
    self._lost += 0 if self.parts is None else len(self.parts)
    self._lost += 0 if self.unreported is None else len(self.unreported)
    return 0


cdef int close_for_good(Stream self, object linger) except -1:
    """Release what it holds, close the socket, and tell the user."""
    cdef Callback callback = self.close_callback
    self.out.clear()
    self.parts = None
    self.sock = self.origin = None
    self._monitor = None
    self.receiver = None
    self.send_callback = self.err_callback = self.drain_callback = self.close_callback = None
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
    if self.py_socket is not None:
        close_socket(self, linger)
    return 0


cdef int close_socket(Stream self, object linger) except -1:
    cdef object socket = self.py_socket, shadowed = self.shadowed
    if socket is None:
        return 0  # it has another owner: see left_open()
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
# A stream that nobody has closed, and to which nothing refers any more, closes its socket unless that
# has another owner.
#
# Often its context is garbage, too. pyzmq's Context.__del__() waits until all sockets are closed and their
# messages are sent, and the garbage collector calls finalizers in any order. So what is open is kept
# alive from outside, until the finalizer of its stream has run.

cdef extern from "Python.h":
    int Py_AddPendingCall(int (*function)(void *) noexcept, void *argument) noexcept
    Py_ssize_t Py_REFCNT(PyObject *o) noexcept

cdef enum:
    LEFT_OPEN_LINGER = 500  # milliseconds that libzmq has for messages, where LINGER is without end


# The socket of each open stream, by the stream's id.
cdef dict open_sockets = {}

# Sockets of streams that are gone, until it is known whether somebody else holds them.
cdef list orphans = []


cdef int left_open(Stream self) except -1:
    """A stream is garbage, and was not closed."""
    cdef object socket = open_sockets.pop(id(self), None)
    cdef bint is_shadow = self.shadowed is None and self.origin is not self.sock  # of another's socket
    cdef Py_ssize_t ours
    if self.state == FORKED or zs_is_finalizing() or self.origin._pid != os.getpid():
        return 0
    if self._monitor is not None:
        self._monitor.close()
        self._monitor = None  # it refers to the socket
    ours = 2 if self.shadowed is None else 3  # `socket` and `py_socket`; or with `_shadow_obj`
    ours += (self.sock is socket) + (self.origin is socket)
    self.close_callback = None  # it would run in the middle of anything
    try:
        warnings.warn(f"unclosed {name_of(self)}", ResourceWarning, source=self)
    finally:
        if Py_REFCNT(<PyObject *> socket) <= ours and not is_shadow:
            close_stream(self, left_open_linger(socket), True)
        else:
            self.py_socket = self.shadowed = None
            close_stream(self, None, True)
            if not is_shadow:  # its other owners may be garbage, too, and go in a moment
                orphans.append(socket)
                Py_AddPendingCall(&close_orphans, NULL)
    return 0


cdef object left_open_linger(object socket):
    """The linger to close a socket with: None leaves it as it is."""
    return LEFT_OPEN_LINGER if not socket.closed and socket.getsockopt(zmq.LINGER) < 0 else None


cdef int close_orphans(void *unused) noexcept:
    """Close the sockets that nobody else holds."""
    cdef object socket
    while orphans:
        socket = orphans.pop()
        if Py_REFCNT(<PyObject *> socket) == 1:
            socket.close(left_open_linger(socket))
    return 0


cdef int end_deliveries(Stream self) except -1:
    """Tell coroutines that await a queued message that it will not be sent."""
    cdef Ring ring
    cdef Delivery delivery
    for ring in [*(self.out.parked or {}).values(), self.out.ring]:
        for delivery in ring.deliveries or ():
            if delivery.ring is ring and delivery.awaited is not None:
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
    """Where the socket was bound or connected last; "" if nowhere."""
    cdef char last[257]
    cdef size_t size = sizeof(last)
    cdef void *handle
    if self.state < CLOSED:
        handle = self.handle()
        if handle is not NULL and lib.getsockopt(handle, OPT_LAST_ENDPOINT, last, &size) == 0:
            return last[:size].rstrip(b"\0").decode("utf-8", "replace")
    return self.last_endpoint or ""
