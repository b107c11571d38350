# What coroutines await: a message, a send, room in the queue.
#
# An awaitable is a coroutine to asyncio (`send`, `throw`, `close`), so create_task(), wait_for() and
# gather() accept it. If there is nothing to wait for, it ends at once, without the event loop.

cdef extern from "awaitable.h":
    ctypedef int (*zs_send)(PyObject *, PyObject *, PyObject **) except -1
    ctypedef PyObject *(*zs_next "iternextfunc")(PyObject *) except NULL
    void zs_set_slots(PyObject *type, zs_send send, zs_next next) noexcept
    PyObject *zs_stop(PyObject *result) noexcept

cdef enum:
    ENDED = 0    # PYGEN_RETURN
    YIELDED = 1  # PYGEN_NEXT


class MultipartMessageError(ValueError):
    """recv() met a message of several frames: they are the attribute `message`, and nowhere else."""

    def __init__(self, message):
        super().__init__(
            f"a message of {len(message)} frames where recv() expects one: use recv_multipart()")
        self.message = message

    def __reduce__(self):
        return type(self), (self.message,)


cdef class Awaited:
    """What `await` waits for: a coroutine to asyncio."""

    cdef object step(self):
        """Go on. Returns what is yielded to the loop or, if it has ended, the result."""

    cdef int abandon(self) except -1:
        """Nobody awaits it any more."""
        return 0

    cdef object sleep(self):
        """What to yield, to be woken by `future`."""
        if self.future is not None and not self.future.done():
            raise resumed_early()
        check_running(self.stream)
        self.future = self.stream.reactor.loop.create_future()
        return next(self.future.__await__())

    def __await__(self):
        return self

    def __iter__(self):
        return self

    def __next__(self):
        return self.send(None)

    def send(self, value):
        cdef object result = self.step()
        if self.ended:
            raise StopIteration(result)
        return result

    def throw(self, kind, value=None, traceback=None):
        self.ended = True
        self.abandon()
        if value is None:
            value = kind() if isinstance(kind, type) else kind
        elif not isinstance(value, kind):
            value = kind(*value) if isinstance(value, tuple) else kind(value)
        if traceback is not None:
            value = value.with_traceback(traceback)
        raise value

    def close(self):
        if not self.ended:
            self.ended = True
            self.abandon()


cdef int awaited_send(PyObject *awaited, PyObject *value, PyObject **result) except -1:
    cdef object outcome
    result[0] = NULL
    outcome = (<Awaited> awaited).step()
    Py_INCREF(outcome)
    result[0] = <PyObject *> outcome
    return ENDED if (<Awaited> awaited).ended else YIELDED


cdef PyObject *awaited_next(PyObject *awaited) except NULL:
    cdef object outcome = (<Awaited> awaited).step()
    if (<Awaited> awaited).ended:
        return zs_stop(<PyObject *> outcome)
    Py_INCREF(outcome)
    return <PyObject *> outcome


@cython.final
cdef class AwaitedNothing(Awaited):
    """Ended from the beginning."""

    def __cinit__(self):
        self.ended = True

    cdef object step(self):
        return None


@cython.final
cdef class AwaitedLevel(Awaited):
    """Until the queue of a stream has fallen: to `low`, or, with `empty`, to nothing."""

    cdef object step(self):
        cdef Stream stream = self.stream
        cdef Waiters waiters
        cdef object result
        if self.ended:
            raise awaited_twice()
        if stream.state == CLOSED:
            self.ended = True
            raise OSError("Stream is closed")
        if (queued_messages(stream) == 0) if self.empty else (not stream.out.above_high):
            self.ended = True
            return None
        waiters = waiters_of(stream)
        result = self.sleep()
        (waiters.empty_waiters if self.empty else waiters.room_waiters).append(self.future)
        return result

    cdef int abandon(self) except -1:
        cdef Waiters waiters = self.stream.waiters
        if waiters is not None:
            for futures in (waiters.room_waiters, waiters.empty_waiters):
                if self.future in futures:
                    futures.remove(self.future)
        return 0


cdef class AwaitedSend(Awaited):
    """Until libzmq has a message, or has refused it."""

    cdef object step(self):
        cdef object error
        if self.yielding:
            self.yielding = False
            return None
        if self.ended:
            raise awaited_twice()
        if not self.reported:
            return self.sleep()
        self.ended = True
        error, self.error = self.error, None  # its traceback may refer to us
        if error is not None:
            raise error
        return self.result

    def __del__(self):
        if not self.ended:
            self.complain()

    cdef int complain(self) except -1:
        """Nobody will ask for the outcome: log an error that nobody else was told of."""
        cdef object error
        error, self.error = self.error, None
        if error is not None and self.unheard:
            _logger.error(
                "%r: a message could not be sent, and nobody awaits it: %s", self.stream, error)
        return 0

    cdef int report(self, object error, object result) except -1:
        """The outcome."""
        self.reported = True
        self.error = error
        self.result = result
        self.delivery = None
        if self.future is not None:
            self.stream.reactor.wake_future(self.future)
        return 0

    cdef int abandon(self) except -1:
        cdef Delivery delivery = self.delivery
        self.delivery = None
        if delivery is not None and delivery.ring is not None:
            zs_count(ZS_UNSENT, 1)
            self.stream.out.cancel(delivery)
            delivery.release()
            self.stream.finish(LOOK)
        return self.complain()


cdef class AwaitedMessage(Awaited):
    """Until there is a message."""

    cdef object step(self):
        cdef Stream stream = self.stream
        cdef Waiters waiters = waiters_of(stream)
        cdef Ending ending = DRAINED
        cdef object message
        if self.ended:
            raise awaited_twice()
        if not self.waiting:
            check_receivable(stream, self.kind)
            if waiters.receivers:
                return self.stand_in_line(False, DRAINED)
            if budget_spend(&waiters.fairness):
                check_running(stream)  # before the loop is asked for anything
                if must_yield(stream):
                    return self.stand_in_line(True, DRAINED)
        elif stream.state == CLOSED or stream.closing:
            self.waiting = False
            self.abandon()
            check_receivable(stream, self.kind)
        elif self.future is not None and not self.future.done():
            raise resumed_early()
        elif self.timed_out and waiters.first() is not self:
            self.limit_wait()  # what is there is for those before it
        try:
            # What may fail comes first, so that no message is lost by it. The receive may swallow an
            # event that tells of room to send, and the next in line is woken in the next turn.
            if stream.out.queued:
                stream.touch()
            if self.waiting and len(waiters.receivers) > 1:
                stream.reactor.enqueue(stream)
            message = self.take(&ending)
            if message is None:
                return self.stand_in_line(False, ending)
        except BaseException as error:
            self.ended = True
            self.failed(error)
            raise
        return self.received(message)

    cdef object take(self, Ending *ending):
        """What is awaited; None if there is none, and then `ending` is what finish() needs."""
        return receive_one(self.stream, self.copy, True, False, ending)

    cdef int failed(self, object error) except -1:
        """A receiver that failed must not stand in the way of others."""
        return self.abandon()

    cdef object received(self, object message):
        self.ended = True
        if self.waiting:
            self.stream.waiters.leave(self)
        if self.timer is not None:
            self.timer.cancel()
        if self.kind != FRAME:
            return message
        if PyList_GET_SIZE(<PyObject *> message) != 1:
            raise MultipartMessageError(message)
        return (<list> message)[0]

    cdef object stand_in_line(self, bint yielding, Ending ending):
        """Wait for a message; or, with `yielding`, only until the loop has gone round once."""
        cdef Stream stream = self.stream
        cdef Waiters waiters = stream.waiters
        cdef object result = None
        if not yielding:
            start_fairness(stream)
            result = self.sleep()
            self.limit_wait()
        waiters.join(self)
        if waiters.first() is self:
            waiters.wants_message = not yielding
            if not yielding:
                stream.finish(ending)
        return result

    cdef int limit_wait(self) except -1:
        """It has to wait: for no longer than the socket's RCVTIMEO, which is looked at once."""
        cdef int milliseconds
        if not self.limited:
            self.limited = True
            milliseconds = socket_timeout(self.stream, OPT_RCVTIMEO)
            if milliseconds > 0:
                self.timer = self.stream.reactor.loop.call_later(milliseconds * 1e-3, self._on_timeout)
                self.stream.reactor.called = True
            self.timed_out = milliseconds == 0
        if self.timed_out:
            self.ended = True
            self.abandon()
            raise zmq_error(EAGAIN)
        return 0

    def _on_timeout(self):
        self.timer = None
        self.timed_out = True
        self.stream.reactor.wake_future(self.future)

    cdef int abandon(self) except -1:
        cdef bint first
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if self.waiting:
            first = self.stream.waiters.first() is self
            self.stream.waiters.leave(self)
            if first:
                self.stream.finish(LOOK)
        return 0


cdef int socket_timeout(Stream stream, int option) noexcept:
    """The socket's RCVTIMEO or SNDTIMEO: milliseconds; -1: without end."""
    cdef int milliseconds = -1
    cdef size_t size = sizeof(int)
    cdef void *handle = stream.handle()
    if handle is NULL or lib.getsockopt(handle, option, &milliseconds, &size) < 0:
        return -1
    return milliseconds


cdef object awaited_twice():
    return RuntimeError("what a stream gave to be awaited can be awaited once")


cdef object resumed_early():
    return RuntimeError("what a stream gave to be awaited was resumed before it is time")


for _type in (AwaitedNothing, AwaitedLevel, AwaitedSend, AwaitedMessage):
    zs_set_slots(<PyObject *> _type, awaited_send, awaited_next)
del _type
