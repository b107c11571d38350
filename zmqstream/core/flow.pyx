# Flow control: how much may wait to be sent, for how long, and who is told when there is room.
#
# - Beyond `high` (messages, or bytes) a queue is `over`, until it has fallen to `low`. Nobody looks
#   at that for each message that leaves: check_level() does, at the end of every operation.
# - What is dropped or expires is an outcome like any other. A drop may happen in any thread, in the
#   middle of a send: it is told in the stream's next turn (`untold`), and kept only if somebody is
#   there to be told.
# - A message with a deadline stands in the queue like any other, and in a heap beside it. When its
#   time is over it leaves a hole in the ring: see SendQueue.withdraw().

from heapq import heappop, heappush

from libc.errno cimport ETIMEDOUT

class QueueFull(zmq.Again):
    """A message was refused because its stream's queue is full: see set_write_buffer_limits()."""

    def __init__(self, why="the queue of the stream is full"):
        super().__init__()
        self.strerror = why
        self.args = (self.errno, why)

    def __reduce__(self):
        return type(self), (self.strerror,)


class MessageDropped(zmq.ZMQError):
    """A message was dropped because its stream's queue was full: see set_write_buffer_limits()."""

    def __init__(self, why="the queue of the stream is full"):
        super().__init__(zmq.ENOBUFS, why)


class MessageExpired(zmq.ZMQError):
    """A message could not be handed to libzmq within its `timeout`."""

    def __init__(self, why="not handed over in time"):
        super().__init__(ETIMEDOUT, why)


cdef int64_t deadline_of(object timeout, str where) except -1:
    """The clock's time when `timeout` seconds will have passed; 0 for None."""
    cdef double seconds
    if timeout is None:
        return 0
    seconds = number_of(timeout, f"{where}: timeout")
    if not seconds > 0:
        raise ValueError(f"{where}: timeout must be more than 0 seconds: {timeout}")
    return zs_now() + <int64_t> min(seconds * 1e9, LONGEST_NS)


cdef Py_ssize_t limit_of(object value, str name) except -1:
    if not isinstance(value, int):
        raise TypeError(
            f"set_write_buffer_limits: {name} must be an int or None, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"set_write_buffer_limits: {name} must not be negative: {value}")
    return min(value, UNLIMITED)


cdef tuple limits_of(object high, object low, str unit):
    """High and low as asyncio's transports understand them; without any, nothing is too much."""
    if high is None:
        if low is None:
            return UNLIMITED, UNLIMITED
        high = 4 * limit_of(low, f"low{unit}")
    if low is None:
        low = limit_of(high, f"high{unit}") // 4
    if limit_of(low, f"low{unit}") > limit_of(high, f"high{unit}"):
        raise ValueError(
            f"set_write_buffer_limits: low{unit} must not be more than high{unit}: {low} > {high}")
    return limit_of(high, ""), limit_of(low, "")


cdef dict POLICIES = {
    "wait": WAIT, "raise": RAISE, "drop_newest": DROP_NEWEST, "drop_oldest": DROP_OLDEST}


# -- how much ---------------------------------------------------------------------------------


cdef bint make_room(Stream self, object frames, Py_ssize_t size, SendExtra extra) except -1:
    """The queue is full. Returns whether the message is to be queued all the same."""
    self.out.over = True
    if self.out.policy == RAISE:
        raise QueueFull(
            f"the queue of {self!r} is full: {self.out.queued} messages of {self.out.queued_bytes} bytes, and "
            f"the limits are {self.get_write_buffer_limits()} (high, low, high_bytes, low_bytes)")
    if self.out.policy == DROP_NEWEST:
        drop(self, frames, extra)
        return False
    while self.out.is_full(size):
        drop_oldest(self)
    return True


cdef int drop_oldest(Stream self) except -1:
    cdef SendQueue queue = self.out.queue, waiting
    cdef SendExtra extra
    cdef object frames
    if self.out.parked_count:
        for waiting in self.out.parked.values():
            if waiting.count:  # where memory was short, one may be empty
                queue = waiting
                break
    extra = queue.take_extra()
    self.out.removed(queue.items[queue.head].size)
    frames = queue.pop()
    zs_count(ZS_FAILED, 1)
    if queue is not self.out.queue:
        unparked(self, queue)
    return drop(self, frames, extra)


cdef int drop(Stream self, object frames, SendExtra extra) except -1:
    """A message that is in no queue is dropped: in any thread, in the middle of a send."""
    self.dropped += 1
    if (
        self.send_callback is not None or self.err_callback is not None
        or (extra is not None and (extra.callback is not None or extra.awaited is not None))
    ):
        if self.untold is None:
            self.untold = deque()
        self.untold.append((frames, extra, MessageDropped()))
        if self.state != READY:
            self.reactor.enqueue(self)
    elif not self.out.drop_logged:
        self.out.drop_logged = True
        _logger.warning(
            "%r: the queue is full, and messages are dropped; stats().dropped counts them", self)
    return 0


cdef bint tell_untold(Stream self, Budget *budget) except -1:
    """Tell of what was dropped. Returns whether the budget ended it."""
    cdef object frames, error
    while self.untold:
        frames, extra, error = self.untold.popleft()
        tell(self, frames, extra, error, budget.raising)
        if self.state == CLOSED:
            return False
        if spent(budget):
            return True
    return False


# -- when there is room -----------------------------------------------------------------------


cdef int check_level(Stream self) except -1:
    """See whether the queue has fallen as far as somebody waits for."""
    if self.out.over and self.out.queued <= self.out.low and self.out.queued_bytes <= self.out.low_bytes:
        self.out.over = self.out.drop_logged = False
        self.reactor.wake_all(self.drainers)
        if self.drain_callback is not None and not self.drain_due:
            self.reactor.call_soon(self._call_on_drain, ())
            self.drain_due = True
    if self.emptiers is not None and self.out.queued == 0:
        self.reactor.wake_all(self.emptiers)
        self.emptiers = None
    return 0


cdef int attend(Stream self) except -1:
    """At the end of an operation: levels and deadlines."""
    check_level(self)
    if self.out.timed is not None:
        set_timer(self)
    return 0


# -- for how long -----------------------------------------------------------------------------


cdef int watch_deadline(Stream self, SendExtra extra) except -1:
    """`extra`'s message is about to be queued, in any thread; the next turn sets the timer."""
    cdef list fresh = []
    cdef tuple entry
    self.out.serial += 1
    entry = (extra.deadline, self.out.serial, extra)
    # From here on nothing runs bytecode, and so no other thread.
    if self.out.timed is None:
        self.out.timed = fresh
    elif len(self.out.timed) >= self.out.most_timed:
        for waiting in self.out.timed:
            if (<SendExtra> (<tuple> waiting)[2]).queue is not None:
                heappush(fresh, waiting)
        self.out.timed = fresh  # not before: memory may be short
        self.out.most_timed = max(STALE_DEADLINES, 2 * len(fresh))
    heappush(self.out.timed, entry)
    return 0


cdef int set_timer(Stream self) except -1:
    """Have _on_expiry() called when the next deadline is over.

    A timer that was set for a message which has gone stays: it costs less than to cancel it.
    """
    cdef int64_t first
    if self.out.queued == 0:
        self.out.timed = None
        return 0
    while self.out.timed and (<SendExtra> self.out.timed[0][2]).queue is None:
        heappop(self.out.timed)
    if not self.out.timed:
        self.out.timed = None
        return 0
    first = self.out.timed[0][0]
    if self.timer is None or first < self.timer_at:
        if self.timer is not None:
            self.timer.cancel()
        self.timer = self.reactor.loop.call_later(
            max(0, first - zs_now()) * 1e-9, self._on_expiry)
        self.timer_at = first
        self.reactor.called = True  # our own loop must not sleep by the timers it knew
    return 0


cdef int expire(Stream self, SendExtra extra, bint raising) except -1:
    cdef object frames = withdraw(self, extra)
    zs_count(ZS_FAILED, 1)
    self.expired += 1
    try:
        return tell(self, frames, extra, MessageExpired(), raising)
    finally:
        extra.forget()


cdef object withdraw(Stream self, SendExtra extra):
    """Take a message out of the queue where it stands. Returns its frames."""
    cdef SendQueue queue = extra.queue
    cdef object frames
    self.out.removed(queue.at(extra.place).size)
    frames = queue.withdraw(extra)
    if queue is not self.out.queue:
        unparked(self, queue)
    return frames


cdef int expire_overdue(Stream self, SendQueue queue, bint raising) except -1:
    """Expire the oldest of `queue` if its time is over. Returns whether it was."""
    cdef SendExtra extra = queue.first_extra()
    if extra is None or extra.deadline == 0 or extra.deadline > zs_now():
        return 0
    expire(self, extra, raising)
    return 1


cdef int end_flow(Stream self) except -1:
    """The stream has been closed: nothing waits any more."""
    self.out.timed = None
    if self.timer is not None:
        self.timer.cancel()
        self.timer = None
    while self.untold:
        _, extra, error = self.untold.popleft()
        if extra is not None and (<SendExtra> extra).awaited is not None:
            (<AwaitedSend> (<SendExtra> extra).awaited).tell(error, None)
    self.drain_callback = self.drain_context = None
    self.reactor.wake_all(self.drainers)
    self.reactor.wake_all(self.emptiers)
    self.emptiers = None
    return 0
