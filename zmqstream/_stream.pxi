# One stream's life.
#
# The rules
# ---------
# - A stream is IDLE, ARMED, READY or CLOSED (see _reactor.pxi). It leaves a turn and a flush only
#   through settle(), with an exception or without.
# - In a turn: receive a message, call its callback, hand over what the callback sent, and again,
#   until libzmq has no more or the budget is spent.
# - User code is called in receive_loop() (on_recv in a turn), flush_receive() (on_recv in a flush)
#   and call_back() (everything else), and nowhere else. It may do anything to the stream: close
#   it, flush it, replace or remove its callbacks, send, raise, close the raw socket, run the loop.
#   `changes` grows with each of these that a loop over messages must notice, and handle() is asked
#   anew before each libzmq call.
# - A message leaves the queue before anybody is told of it.

import warnings

cdef extern from "Python.h":
    PyObject *PyObject_Vectorcall(
        PyObject *callable, PyObject **args, size_t nargs, PyObject *names) noexcept
    size_t PY_VECTORCALL_ARGUMENTS_OFFSET

cdef extern from *:
    """
    /* Whether nobody but us holds `o`: then it can be used again for the next message. */
    #ifdef Py_GIL_DISABLED
    #define ZS_ONLY_OURS(o) 0
    #else
    #define ZS_ONLY_OURS(o) (Py_REFCNT (o) == 1)
    #endif
    """
    bint ZS_ONLY_OURS(PyObject *o) noexcept

cdef enum:
    TURN_MESSAGES = 256    # a turn's budget
    TURN_NS = 1_000_000    # likewise
    LARGE_FRAME = 16384    # libzmq's copy of a larger frame is let go before the callback runs

cdef enum Receipt:         # why a loop over messages ended
    NOTHING_LEFT
    BUDGET_SPENT
    LOOK_AROUND            # `changes` grew


cdef class Stream(Outgoing):
    def __cinit__(self, *args, **kwargs):
        self.recv_copy = True

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
        try:
            self.open_source(socket, origin_of(socket), fd, reactor)
        except BaseException:
            self.py_socket = self.shadowed = self.reactor = None
            raise

    def __repr__(self):
        cdef str name = type(self).__name__
        if self.reactor is None:
            return f"<{name}, not initialised>"
        return (
            f"<{name}(zmq.{zmq.SocketType(self.socket_type).name}) at {id(self):#x}, "
            f"{('idle', 'armed', 'ready', 'closed')[<int> self.state]}>"
        )

    # -- what the state allows ------------------------------------------------------------------

    cdef int check_open(self) except -1:
        if self.state == CLOSED:
            if self.reactor is None:
                raise RuntimeError(f"{type(self).__name__}.__init__() was not called")
            raise OSError("Stream is closed")
        if self.reactor.generation >= 0:
            self.reactor.check()
        if self.handle() is NULL:
            self.failed(ENOTSOCK)
            raise OSError("Stream is closed: its socket was closed directly")
        return 0

    cdef int check_usable(self) except -1:
        """As check_open(), and its loop must still be there."""
        if self.state == CLOSED or self.handle() is NULL:
            self.check_open()
        if self.reactor.current is None:
            self.reactor.check_loop()
        return self.reactor.check()

    cdef int wanted(self) noexcept:
        return (
            (POLLIN if self.recv_callback is not None else 0) | (POLLOUT if self.queue.count else 0)
        )

    cdef int settle(self) except -1:
        if self.running or self.state == CLOSED:
            return 0  # if running: the outermost turn or flush will
        if self.clean and self.queue.count == 0:
            # The last libzmq call was a receive that found nothing. Before it says so,
            # zmq_msg_recv(DONTWAIT) processes the whole mailbox, as a look at EVENTS does.
            self.checked = self.reactor.epoch
            self.state = ARMED if self.recv_callback is not None else IDLE
            return self.reactor.unlink(self)
        return Source.settle(self)

    cdef int orphan(self) except -1:
        self.changes += 1
        return Source.orphan(self)

    # -- the public face: receiving -------------------------------------------------------------

    def on_recv(self, callback, bint copy=True):
        self.set_receiver(check_callback(callback, "on_recv"), copy, False)

    def _on_recv_stream(self, callback, bint copy):
        self.set_receiver(check_callback(callback, "on_recv_stream"), copy, True)

    cdef int set_receiver(self, object callback, bint copy, bint with_stream) except -1:
        self.check_usable()
        self.changes += 1
        self.recv_callback = callback
        self.recv_context = context_for(callback)
        self.recv_copy = copy
        self.recv_stream = with_stream
        if callback is not None:
            self.input_due = True
            if self.state != READY:
                self.reactor.enqueue(self)
        elif self.state == ARMED and self.queue.count == 0:
            self.state = IDLE
        return 0

    def receiving(self):
        """Whether a receive callback is registered."""
        return self.recv_callback is not None

    # -- the public face: sending ---------------------------------------------------------------

    def send_multipart(
        self, msg, int flags=0, bint copy=True, bint track=False, callback=None, **kwargs
    ):
        if kwargs:
            warn_of_unknown(kwargs)
        self.queue_message(msg, flags, copy, track, callback)

    def send(self, msg, int flags=0, bint copy=True, bint track=False, callback=None, **kwargs):
        if not self.own_send:
            return self.send_multipart(
                [msg], flags=flags, copy=copy, track=track, callback=callback, **kwargs)
        if kwargs:
            warn_of_unknown(kwargs)
        if copy and not track and callback is None and PyBytes_CheckExact(<PyObject *> msg):
            self.check_usable()
            self.enqueue_frames(msg, flags, None)
        else:
            self.queue_message((msg,), flags, copy, track, callback)

    cdef int queue_message(
        self, object msg, int flags, bint copy, bint track, object callback
    ) except -1:
        cdef SendExtra extra = None
        cdef list trackers
        cdef object frames, tracker
        self.check_usable()
        if (
            type(msg) is list and PyList_GET_SIZE(<PyObject *> msg) == 1
            and copy and not track and callback is None
            and PyBytes_CheckExact(PyList_GET_ITEM(<PyObject *> msg, 0))
        ):
            return self.enqueue_frames(<object> PyList_GET_ITEM(<PyObject *> msg, 0), flags, None)
        check_callback(callback, "send")
        trackers = []
        frames = snapshot(msg, self.sock, copy, track, trackers)
        tracker = tracker_of(trackers) if trackers else None
        if callback is not None or tracker is not None:
            extra = SendExtra(callback, context_for(callback), tracker)
        return self.enqueue_frames(frames, flags, extra)

    cdef int enqueue_frames(self, object frames, int flags, SendExtra extra) except -1:
        self.queue.push(frames, flags, extra)
        if self.state != READY:
            self.reactor.enqueue(self)
        return 0

    def sending(self):
        """Whether messages wait to be handed to libzmq."""
        return self.queue.count > 0 or self.parked_count > 0

    def on_send(self, callback):
        self._set_on_send(callback, "on_send", False)

    def _on_send_stream(self, callback):
        self._set_on_send(callback, "on_send_stream", True)

    def _set_on_send(self, callback, str where, bint with_stream):
        check_callback(callback, where)
        self.check_open()
        self.send_callback = callback
        self.send_context = context_for(callback)
        self.send_stream = with_stream

    def on_err(self, callback):
        check_callback(callback, "on_err")
        self.check_open()
        self.err_callback = callback
        self.err_context = context_for(callback)

    # -- a turn ---------------------------------------------------------------------------------

    cdef int turn(self) except -1:
        cdef Budget budget
        cdef bint more = False
        budget.left = TURN_MESSAGES
        budget.raising = False
        budget.unlooked = budget.looked = 1
        budget.last = self.reactor.now
        budget.deadline = budget.last + TURN_NS
        self.running += 1
        self.clean = self.blocked = False
        try:
            if self.parked_count:
                self.unpark(&budget)
            if self.input_due and self.recv_callback is not None:
                more = self.receive_turn(&budget) == BUDGET_SPENT
            if self.queue.count and not more and not self.blocked and self.held != self.reactor.iteration:
                more = self.drain(&budget)
        except BaseException:
            more = False
            raise
        finally:
            self.running -= 1
            if more and self.running == 0 and self.index >= 0:
                self.reactor.enqueue_later(self)
            else:
                self.settle()
        return 0

    cdef int receive_turn(self, Budget *budget) except -1:
        """Receive, in the context that on_recv() was called in."""
        cdef object context
        cdef int result = LOOK_AROUND
        while (
            result == LOOK_AROUND and self.recv_callback is not None
            and self.held != self.reactor.iteration
        ):
            context = self.recv_context
            if self.running > 1:
                context = context.copy()  # the loop runs inside our callback: it is entered
            PyContext_Enter(context)
            try:
                result = self.receive_loop(budget)
            finally:
                PyContext_Exit(context)
        return result

    cdef int receive_loop(self, Budget *budget) except -1:
        """The way in, as long as nothing changes. Returns a Receipt."""
        cdef zmq_msg_t msg
        cdef void *handle
        cdef int size, changes = self.changes
        cdef bint copy = self.recv_copy
        cdef object callback = self.recv_callback
        cdef object message
        cdef PyObject *args[3]         # the first is room for a bound method's self
        cdef Py_ssize_t last = 1       # where the message goes
        cdef PyObject *frame
        cdef PyObject *single = NULL   # a list of one frame, used again if nobody kept it
        cdef PyObject *result
        if self.recv_stream:
            args[1] = <PyObject *> self
            last = 2
        lib.msg_init(&msg)
        try:
            while True:
                handle = self.handle()
                if handle is NULL:
                    self.failed(ENOTSOCK)
                    return NOTHING_LEFT
                size = lib.msg_recv(&msg, handle, DONTWAIT)
                if size < 0:
                    return self.receive_failed(lib.last_error())

                message = None
                if copy and not lib.msg_more(&msg):
                    frame = new_bytes(
                        <char *> lib.msg_data(&msg), size if size < INT_MAX else lib.msg_size(&msg))
                    if frame is NULL:
                        report_pending(self.reactor.loop, "receiving", self, None)
                        return BUDGET_SPENT
                    if single is NULL:
                        single = new_list(1)
                        if single is NULL:
                            Py_XDECREF(frame)
                            report_pending(self.reactor.loop, "receiving", self, None)
                            return BUDGET_SPENT
                    replace_only_item(single, frame)
                    args[last] = single
                else:
                    message = self.receive_rest(handle, &msg, size, copy)
                    if message is None:
                        return BUDGET_SPENT
                    args[last] = <PyObject *> message
                if size > LARGE_FRAME:
                    lib.msg_close(&msg)
                    lib.msg_init(&msg)

                self.reactor.epoch += 1
                result = PyObject_Vectorcall(
                    <PyObject *> callback, &args[1], last | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)
                message = None
                if single is not NULL:
                    if ZS_ONLY_OURS(single) and PyList_GET_SIZE(single) == 1:
                        replace_only_item(single, new_none())  # a message ends with its callback
                    else:
                        Py_XDECREF(single)
                        single = NULL
                if result is NULL:
                    report_pending(self.reactor.loop, "the on_recv callback", self, callback)
                else:
                    if result is not <PyObject *> None:
                        self.returned(<object> result, callback)
                    Py_XDECREF(result)

                if self.changes != changes:
                    self.clean = False  # a flush may have set it, and user code ran since
                    return BUDGET_SPENT if spent(budget) else LOOK_AROUND
                if self.queue.count and not self.blocked and self.drain(budget):
                    return BUDGET_SPENT
                if self.changes != changes:
                    return BUDGET_SPENT if spent(budget) else LOOK_AROUND
                if spent(budget):
                    return BUDGET_SPENT
        finally:
            lib.msg_close(&msg)
            Py_XDECREF(single)

    cdef object receive_rest(self, void *handle, zmq_msg_t *msg, int size, bint copy):
        """The message that begins in `msg`; None if it had to be given up, which was reported."""
        try:
            return message_in(handle, msg, size, copy)
        except BaseException as error:
            report(self.reactor.loop, "receiving", self, None, error)
        return None

    cdef int receive_failed(self, int code) except -1:
        """zmq_msg_recv() had no message. Returns a Receipt."""
        if code == EAGAIN:
            self.clean = True
            self.input_due = False
            return NOTHING_LEFT
        if code == EINTR:
            PyErr_CheckSignals()
            self.reactor.check()
            return BUDGET_SPENT  # try again
        self.input_due = False
        # Not now (a REQ before its request was sent), or never (a PUSH): a look at EVENTS, which
        # settle() takes, says the same without an error.
        if code != EFSM and code != ENOTSUP:
            self.failed(code)
        return NOTHING_LEFT

    # -- flush ----------------------------------------------------------------------------------

    def flush(self, int flag=POLLIN | POLLOUT, limit=None):
        cdef Budget budget
        cdef int most = INT_MAX
        if limit is not None:
            if limit < 0:
                raise ValueError(f"limit must not be negative: {limit}")
            most = min(limit, INT_MAX)
        self.check_open()
        budget.left = most
        budget.raising = True
        budget.unlooked = budget.looked = INT_MAX  # no clock
        budget.deadline = INT64_MAX
        self.running += 1
        self.clean = self.blocked = False
        try:
            if self.parked_count and flag & POLLOUT and budget.left:
                self.unpark(&budget)
            self.flush_loop(flag, &budget)
        finally:
            self.running -= 1
            if self.state != CLOSED:
                if budget.left < most:
                    self.changes += 1
                    self.held = self.reactor.iteration
                    self.reactor.hold()
                if self.index >= 0:
                    self.settle()
        return most - budget.left

    cdef int flush_loop(self, int flag, Budget *budget) except -1:
        cdef bint receive = (flag & POLLIN) != 0
        cdef bint receiver = self.recv_callback is not None
        cdef Budget one = budget[0]
        cdef int before = -1
        while budget.left > 0 and budget.left != before and self.state != CLOSED:
            before = budget.left
            # Without a receiver messages are dropped, but not those that its callback left behind
            # when it said on_recv(None).
            if receive and (self.recv_callback is not None or not receiver):
                budget.left -= 1  # also if its callback raises
                receive = self.flush_receive()
                if not receive:
                    budget.left += 1
            if (
                flag & POLLOUT and budget.left > 0 and self.state != CLOSED
                and self.queue.count and not self.blocked
            ):
                one.left = 1
                try:
                    self.drain(&one)
                except BaseException:
                    budget.left -= 1
                    raise
                budget.left -= 1 - one.left
        return 0

    cdef bint flush_receive(self) except -1:
        """Receive a message, and drop it if nobody wants it. Returns whether there was one."""
        cdef zmq_msg_t msg
        cdef int size
        cdef object callback = self.recv_callback
        cdef object message
        cdef void *handle = self.handle()
        if handle is NULL:
            self.failed(ENOTSOCK)
            return False
        lib.msg_init(&msg)
        try:
            while True:
                size = lib.msg_recv(&msg, handle, DONTWAIT)
                if size >= 0:
                    break
                if self.receive_failed(lib.last_error()) == NOTHING_LEFT:
                    return False
            self.clean = False
            message = message_in(handle, &msg, size, self.recv_copy)
        finally:
            lib.msg_close(&msg)
        if callback is not None:
            self.reactor.epoch += 1
            self.returned(callback(self, message) if self.recv_stream else callback(message), callback)
            self.clean = False
        return True

    # -- the end --------------------------------------------------------------------------------

    cdef int failed(self, int code) except -1:
        """libzmq refuses the socket with error `code`."""
        cdef object error
        if self.state == CLOSED:
            return 0
        if code == ENOTSOCK:
            self.release(None, self.queue.count + self.parked_count)
            try:
                warnings.warn(
                    f"the socket of {self!r} was closed directly; use stream.close() instead, which "
                    "unregisters it first and loses no queued messages",
                    stacklevel=1,
                )
            except Warning as warning:  # warnings are errors here: let it be one of nobody's call
                report(self.reactor.loop, "closing", self, None, warning)
            return 0
        error = zmq_error(code)
        if not self.tell_error(error, False) and code != ETERM:
            _logger.error("%r: %s", self, error)
        if code == ETERM and self.state != CLOSED:
            # the context waits for its sockets
            self.release(None, self.queue.count + self.parked_count)
        return 0

    def close(self, linger=None):
        cdef Py_ssize_t unsent
        if linger is not None and not isinstance(linger, int):
            raise TypeError(f"linger is None or milliseconds, an int, not {type(linger).__name__}")
        if self.state == CLOSED:
            return
        if self.handle() is NULL:
            self.failed(ENOTSOCK)
        elif 0 <= self.reactor.generation != fork_generation:
            self.release(linger, 0)  # in a forked child, nothing of this is ours
        else:
            unsent = self.last_drain()
            self.release(linger, unsent)

    cdef int release(self, object linger, Py_ssize_t unsent) except -1:
        """Be closed: first for the loop, then for libzmq, then for the user."""
        cdef object socket = self.py_socket, shadowed = self.shadowed
        cdef object callback = self.close_callback, context = self.close_context
        self.state = CLOSED
        self.changes += 1
        self.count_parked(-self.parked_count)
        self.reactor.remove(self)
        self.queue.clear()
        self.sock = self.origin = None
        self.py_socket = self.shadowed = self.parked = None
        self.recv_callback = self.recv_context = self.send_callback = self.send_context = None
        self.err_callback = self.err_context = self.close_callback = self.close_context = None
        if shadowed is not None:
            shadowed.close(linger)  # it has readers and futures of its own to end
            socket._closed = True   # the same libzmq socket: there is nothing left to close
        else:
            socket.close(linger)
        if unsent:
            _logger.warning(
                "%r: %d queued messages could not be handed to libzmq and are lost", self, unsent)
        if callback is not None:
            self.call_back("the close callback", callback, (), context, False)
        return 0

    def closed(self):
        """Whether the stream is closed; if its socket is, the stream is closed, too."""
        if self.state == CLOSED:
            return True
        if self.py_socket.closed:
            self.failed(ENOTSOCK)
            return True
        return False

    def set_close_callback(self, callback):
        check_callback(callback, "set_close_callback")
        self.close_callback = callback
        self.close_context = context_for(callback)

    @property
    def socket(self):
        """The `zmq.Socket`; None when closed. Use of it can swallow events: they are looked for."""
        if self.index >= 0 and not self.suspect:
            self.suspect = True
            self.reactor.suspects.append(self)
            if self.reactor.sleeping:
                self.reactor.wake()
        return self.py_socket


cdef int warn_of_unknown(dict kwargs) except -1:
    warnings.warn(
        f"ignored by ZMQStream, as by pyzmq's: {', '.join(kwargs)}", RuntimeWarning, stacklevel=2)
    return 0
