# What coroutines await: a message, a send, room in the queue. A stream's part of it is in waiters.pyx.
#
# It is a coroutine to asyncio (`send`, `throw`, `close`), so create_task(), wait_for() and gather()
# take it. Where there is nothing to wait for, it ends at once, and the loop does not even come by.

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
        """Go on: what is yielded to the loop, or, with `ended`, the result."""
        raise NotImplementedError

    cdef int abandon(self) except -1:
        """Nobody waits any more."""
        return 0

    cdef object sleep(self, object loop):
        """What to yield, to be woken by `future`."""
        if self.future is not None and not self.future.done():
            raise early()
        check_running(self.stream)
        self.future = loop.create_future()
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
    """Until the queue of a stream has fallen: to `low`, or, with `emptied`, to nothing."""

    cdef object step(self):
        cdef Stream stream = self.stream
        cdef list others
        if self.ended:
            raise reused()
        if stream.state == CLOSED:
            self.ended = True
            raise OSError("Stream is closed")
        if (stream.out.queued == 0) if self.emptied else (not stream.out.over):
            self.ended = True
            return None
        result = self.sleep(stream.reactor.loop)
        if self.emptied:
            if stream.emptiers is None:
                stream.emptiers = []
            others = stream.emptiers
        else:
            if stream.drainers is None:
                stream.drainers = []
            others = stream.drainers
        others.append(self.future)
        return result

    cdef int abandon(self) except -1:
        for others in (self.stream.drainers, self.stream.emptiers):
            if others is not None and self.future in others:
                others.remove(self.future)
        return 0


@cython.final
cdef class AwaitedSend(Awaited):
    """Until libzmq has a message, or has refused it."""

    cdef object step(self):
        if self.pausing:
            self.pausing = False
            return None
        if self.ended:
            raise reused()
        if not self.told:
            return self.sleep(self.stream.reactor.loop)
        self.ended = True
        error, self.error = self.error, None  # its traceback may lead to us
        if error is not None:
            raise error
        return self.result

    def __del__(self):
        if not self.ended:
            self.complain()

    cdef int complain(self) except -1:
        """Nobody will ask what became of it: an error that nobody else knows of is logged."""
        error, self.error = self.error, None
        if error is not None and self.alone:
            _logger.error(
                "%r: a message could not be sent, and nobody awaits it: %s", self.stream, error)
        return 0

    cdef int tell(self, object error, object result) except -1:
        """What became of it."""
        self.told = True
        self.error = error
        self.result = result
        self.extra = None
        if self.future is not None:
            self.stream.reactor.wake_future(self.future)
        return 0

    cdef int abandon(self) except -1:
        cdef Stream stream = self.stream
        if self.extra is not None and self.extra.queue is not None:
            zs_count(ZS_UNSENT, 1)
            withdraw(stream, self.extra)
            self.extra.forget()
            stream.leave()
        self.extra = None
        return self.complain()


@cython.final
cdef class AwaitedMessage(Awaited):
    """Until there is a message."""

    cdef object step(self):
        cdef Stream stream = self.stream
        cdef object message
        if self.ended:
            raise reused()
        if not self.waiting:
            check_receivable(stream, self.kind)
            if stream.receivers:
                return self.wait(False)
            if spent(&stream.paced):
                check_running(stream)  # before the loop is asked for anything
                if pace_over(stream):
                    return self.wait(True)
        elif stream.state == CLOSED or stream.closing:
            self.waiting = False
            check_receivable(stream, self.kind)
        elif self.future is not None and not self.future.done():
            raise early()
        try:
            # First what may fail, so that no message is lost by it: room to send, of which an event
            # tells that this may swallow; and a turn, in which the next in line is woken.
            if stream.out.queued:
                stream.suspect_raw_use()
            if self.waiting and len(stream.receivers) > 1:
                stream.reactor.enqueue(stream)
            message = receive_one(stream, self.copy)
            result = self.wait(False, True) if message is None else None
        except BaseException:
            self.ended = True
            self.abandon()  # who failed must not stand in the way of others
            raise
        if message is None:
            return result
        self.ended = True
        if self.waiting:
            self.waiting = False
            stream.receivers.popleft()
            stream.awaited = len(stream.receivers) > 0
        if self.kind != FRAME:
            return message
        if PyList_GET_SIZE(<PyObject *> message) != 1:
            raise MultipartMessageError(message)
        return message[0]

    cdef object wait(self, bint pausing, bint drained=False):
        """Stand in line; `pausing`, only to let the loop go once round."""
        cdef Stream stream = self.stream
        cdef object result = None
        if not pausing:
            begin_pace(stream)
            result = self.sleep(stream.reactor.loop)
        if not self.waiting:
            if stream.receivers is None:
                stream.receivers = deque()
            stream.receivers.append(self)
            self.waiting = True
        if stream.receivers[0] is self:
            stream.awaited = not pausing
            if not pausing:
                stream.leave(drained)
        return result

    cdef int abandon(self) except -1:
        cdef Stream stream = self.stream
        cdef bint first
        if not self.waiting:
            return 0
        self.waiting = False
        if stream.receivers and self in stream.receivers:
            first = stream.receivers[0] is self
            stream.receivers.remove(self)
            if first:
                stream.awaited = len(stream.receivers) > 0
                if stream.index >= 0:
                    stream.leave()
        return 0


cdef object reused():
    return RuntimeError("what a stream gave to be awaited can be awaited once")


cdef object early():
    return RuntimeError("what a stream gave to be awaited was resumed before it is time")


for _type in (AwaitedNothing, AwaitedLevel, AwaitedSend, AwaitedMessage):
    zs_set_slots(<PyObject *> _type, awaited_send, awaited_next)
del _type
