# What waits at an asynchronous socket: receives, sends and polls, each with the asyncio.Future that its
# caller has.
#
# A receive that waits stands among the stream's receivers, as coroutines that await the stream do. If
# a task awaits the future directly, the task is woken and receives when it runs, so a message is never
# held for a task that may be cancelled. If other code looks at the future (callbacks, asyncio.wait(),
# gather(), wait_for() up to Python 3.11) or none does, the stream's turn receives for it.
#
# A future and what stands behind it refer to each other only as long as they wait. So they leave
# nothing for the garbage collector.
#
# What waits keeps its socket alive. A socket that is dropped is closed, and cancels what waits. So the
# reference to it is the last that is given up, when the future is done.

cdef object Future = None
cdef object ReceiveFuture = None
cdef object EndableFuture = None

cdef extern from "Python.h":
    object call "PyObject_Call"(object, object, object)
    object call_method "PyObject_CallMethodOneArg"(object, object, object)

cdef str SET_RESULT = "set_result"


def make_future_classes():
    """Make the classes of futures. asyncio is imported when the first is needed."""
    global Future, ReceiveFuture, EndableFuture
    base = importlib.import_module("asyncio").Future

    class _ReceiveFuture(base):
        """A message that a socket has not received yet."""

        __slots__ = ("_receive",)

        def __await__(self):
            receive = self._receive
            return base.__await__(self) if receive is None else receive.__await__()

        __iter__ = __await__

        def cancel(self, msg=None):
            receive = self._receive
            if not base.cancel(self, msg=msg):
                return False
            if receive is not None:
                receive._on_cancel()
            return True

    class _EndableFuture(base):
        """A send or a poll that waits. `_end` is called when the future is cancelled."""

        __slots__ = ("_end",)

        def cancel(self, msg=None):
            end = self._end
            if not base.cancel(self, msg=msg):
                return False
            if end is not None:
                end()
            return True

    Future, ReceiveFuture, EndableFuture = base, _ReceiveFuture, _EndableFuture


cdef object new_future(object kind, Reactor reactor):
    if reactor.loop_keyword is None:
        reactor.loop_keyword = {"loop": reactor.loop}
    return call(kind, (), reactor.loop_keyword)


cdef object done_future(Reactor reactor, object result):
    cdef object future = new_future(Future, reactor)
    call_method(future, SET_RESULT, result)
    return future


cdef object failed_future(Reactor reactor, object error):
    cdef object future = new_future(Future, reactor)
    future.set_exception(error)
    return future


cdef int cancel_future(object future) except -1:
    """Cancel a future, whose loop may be closed."""
    try:
        future.cancel()
    except RuntimeError:
        if not future.get_loop().is_closed():
            raise
    return 0


cdef object set_outcome(Stream stream, object future, object result, object error):
    """Set a future's result or error, unless somebody else has."""
    if future.done() or future.get_loop().is_closed():
        return
    stream.reactor.called = True
    if error is None:
        call_method(future, SET_RESULT, result)
    else:
        future.set_exception(error)


def _set_result(future, result):
    if not future.done():
        future.set_result(result)


# -- receives ---------------------------------------------------------------------------------------

@cython.final
cdef class SocketReceive(AwaitedMessage):
    """A receive of an asynchronous socket that has to wait."""

    def __await__(self):
        if not self.awaited:
            return self
        if self.future is not None:
            self.sleeper, self.future = self.future, None
        self.yielding = False
        if self.stream.waiters.first() is self:
            self.stream.waiters.wants_message = True
            self.stream.reactor.enqueue(self.stream)
        return Future.__await__(self.outcome)

    cdef bint is_served(self) noexcept:
        """Whether the stream's turn receives for it."""
        return not self.awaited or self.sleeper is not None

    cdef object step(self):
        if self.ended:
            raise awaited_twice()
        if not self.waiting:
            self.ended = True
            return self.outcome.result()
        if self.awaited:
            return AwaitedMessage.step(self)
        self.awaited = True
        if not self.yielding:
            return self.sleep()
        if self.stream.waiters.first() is self:
            self.stream.waiters.wants_message = False
        return None

    cdef object take(self, Ending *ending):
        return receive_for_socket(self.stream, self.kind, self.copy, self.buffer, self.size, True, ending)

    cdef object received(self, object message):
        self.ended = True
        self.resolve(message, None)
        return self.outcome.result()

    cdef int failed(self, object error) except -1:
        self.resolve(None, error)
        self.outcome.exception()  # it is raised to the task
        return 0

    cdef int resolve(self, object result, object error) except -1:
        """The result: it leaves the line, and the task that awaits it goes on."""
        cdef Stream stream = self.stream
        cdef object owner = self.owner  # no-cython-lint
        self.end()
        if error is None and self.load is not None:
            try:
                result = self.load(result)
            except Exception as failure:
                error = failure
        set_outcome(stream, self.outcome, result, error)
        return self.wake()

    cdef int stop(self, object reason) except -1:
        """No message will come, for a reason; None: it is cancelled."""
        cdef object owner = self.owner  # no-cython-lint
        if reason is not None:
            return self.resolve(None, reason)
        self.end()
        cancel_future(self.outcome)
        return self.wake()

    cdef int wake(self) except -1:
        """Wake the tasks that await the future."""
        if self.future is not None:
            self.stream.reactor.wake_future(self.future)
        if self.sleeper is not None:
            self.stream.reactor.wake_future(self.sleeper)
        return 0

    cdef int end(self) except -1:
        """It waits no longer."""
        self.outcome._receive = None
        self.owner = self.buffer = None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.waiting:
            self.stream.waiters.leave(self)
        return 0

    cdef int abandon(self) except -1:
        cdef Waiters waiters = self.stream.waiters
        cdef bint first = waiters is not None and waiters.first() is self
        cdef object owner = self.owner  # no-cython-lint
        self.end()
        cancel_future(self.outcome)
        if first:
            self.stream.finish(LOOK)
        return 0

    def _on_cancel(self):
        cdef bint first = self.stream.waiters.first() is self
        cdef object owner = self.owner  # no-cython-lint
        self.end()
        self.wake()
        if first:
            self.stream.finish(LOOK)

    def _on_timeout(self):
        cdef bint first = self.stream.waiters.first() is self
        cdef object owner = self.owner  # no-cython-lint
        self.timer = None
        self.resolve(None, zmq_error(EAGAIN))
        if first:
            self.stream.finish(LOOK)

    def _set_load(self, load):
        """Apply `load` to the message when it comes."""
        first = self.load
        self.load = load if first is None else lambda message: load(first(message))


zs_set_slots(<PyObject *> SocketReceive, awaited_send, awaited_next)


# -- sends ------------------------------------------------------------------------------------------

@cython.final
cdef class SocketSend(AwaitedSend):
    """A send of an asynchronous socket that has to wait."""

    cdef int report(self, object error, object result) except -1:
        cdef object outcome = self.outcome, owner = self.owner  # no-cython-lint
        self.reported = self.ended = True
        self.delivery = self.owner = self.outcome = None
        outcome._end = None
        if error is not None and self.stream.state == CLOSED:
            return cancel_future(outcome)
        set_outcome(self.stream, outcome, result, error)
        return 0

    cdef int stop(self, object reason) except -1:
        """Withdraw the message, for a reason; None: it is cancelled."""
        cdef Delivery delivery = self.delivery
        cdef object outcome = self.outcome, owner = self.owner  # no-cython-lint
        self.ended = True
        self.delivery = self.owner = self.outcome = None
        outcome._end = None
        zs_count(ZS_UNSENT, 1)
        self.stream.out.cancel(delivery)
        delivery.release()
        if reason is None:
            return cancel_future(outcome)
        set_outcome(self.stream, outcome, None, reason)
        return 0

    def _on_cancel(self):
        cdef object owner = self.owner  # no-cython-lint
        self.owner = self.outcome = None
        self.close()


# -- polls ------------------------------------------------------------------------------------------

@cython.final
cdef class PollWaiter:
    """Waits for events of a socket."""

    cdef int join(self, Stream stream) except -1:
        cdef Waiters waiters = waiters_of(stream)
        self.stream = stream
        waiters.pollers.append(self)
        waiters.poll_mask |= self.mask
        return 0

    def leave(self):
        """It waits no longer."""
        cdef Waiters waiters = self.stream.waiters
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.outcome is not None:
            self.outcome._end = None
        self.owner = None
        if self in waiters.pollers:
            waiters.pollers.remove(self)
            waiters.count_polled()

    cdef int resolve(self, int events, object error) except -1:
        """Events have come; or 0 and an error, or None: it is cancelled."""
        cdef object callback = self.callback, outcome = self.outcome
        cdef object owner = self.owner  # no-cython-lint
        self.leave()
        self.callback = self.outcome = None
        if callback is not None:
            callback(events, error)
        elif events == 0 and error is None:
            cancel_future(outcome)
        else:
            set_outcome(self.stream, outcome, events, error)
        return 0

    def _on_timeout(self):
        cdef object owner = self.owner  # no-cython-lint
        self.timer = None
        self.leave()
        _set_result(self.outcome, 0)


# -- a turn -----------------------------------------------------------------------------------------

cdef int serve_sockets(Stream self, Budget *budget) except -1:
    """Wake polls whose events are there, and receive for receives that no task awaits.

    Returns an Ending.
    """
    cdef Waiters waiters = self.waiters
    cdef AwaitedMessage first
    cdef SocketReceive receive
    cdef Ending ending
    cdef object result, error
    if waiters.poll_mask:
        wake_pollers(self)
    while waiters.wants_message and self.state < CLOSED:
        first = waiters.first()
        if not isinstance(first, SocketReceive) or not (<SocketReceive> first).is_served():
            return LOOK  # finish() wakes it
        receive = first
        ending = LOOK
        error = None
        try:
            result = receive.take(&ending)
        except Exception as failure:
            result, error = None, failure
        if not receive.waiting:
            continue  # the stream has been closed
        if result is None and error is None:
            self.maybe_readable = False
            return ending
        receive.resolve(result, error)
        if budget_spend(budget):
            return MORE
    return LOOK


cdef int wake_pollers(Stream self) except -1:
    cdef Waiters waiters = self.waiters
    cdef PollWaiter poller
    cdef int events = self.read_events()
    if events <= 0:
        return 0
    for poller in list(waiters.pollers):
        if poller.mask & events and poller in waiters.pollers:
            poller.resolve(poller.mask & events, None)
    return 0


cdef int end_socket_waiters(Stream self) except -1:
    """No message will come any more: receives and polls end."""
    cdef Waiters waiters = self.waiters
    cdef PollWaiter poller
    cdef object each
    for each in list(waiters.receivers):
        if isinstance(each, SocketReceive):
            (<SocketReceive> each).stop(self.close_reason)
    for poller in list(waiters.pollers):
        poller.resolve(0, self.close_reason)
    return 0
