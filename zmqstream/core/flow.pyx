# Flow control: how much may wait to be sent, for how long, and who is woken when there is room.
#
# - check_levels() compares the outbox with its limits at the end of every operation, not for every
#   message that leaves.
# - A dropped or expired message has an outcome like any other. A drop can happen inside send(), so it
#   is reported in the stream's next turn. It is recorded only if a callback or a coroutine will receive
#   the report.


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
    return zs_now() + seconds_ns(seconds)


cdef Py_ssize_t limit_of(object value, str name) except -1:
    if not isinstance(value, int):
        raise TypeError(
            f"set_write_buffer_limits: {name} must be an int or None, not {type(value).__name__}")
    if value < 0:
        raise ValueError(f"set_write_buffer_limits: {name} must not be negative: {value}")
    return min(value, UNLIMITED)


cdef tuple limits_of(object high, object low, str unit):
    """High and low, as asyncio's transports define them; without both, there is no limit."""
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


cdef Policy policy_of(object policy, Py_ssize_t messages, Py_ssize_t size) except *:
    """The policy of that name, checked against the limits in messages and bytes."""
    if not isinstance(policy, str) or policy not in POLICIES:
        raise ValueError(
            f"set_write_buffer_limits: policy must be one of {', '.join(POLICIES)}, not {policy!r}")
    if policy != "wait" and messages == size == UNLIMITED:
        raise ValueError(f"set_write_buffer_limits: policy {policy!r} needs high or high_bytes")
    if policy != "wait" and (messages == 0 or size == 0):
        raise ValueError(
            f"set_write_buffer_limits: with a limit of 0, policy {policy!r} would send nothing")
    return POLICIES[policy]


# -- how much ---------------------------------------------------------------------------------------

cdef object queue_full(Stream self):
    return QueueFull(
        f"the queue of {self!r} is full: {queued_messages(self)} messages of {queued_bytes(self)} bytes, "
        f"and the limits are {self.get_write_buffer_limits()} (high, low, high_bytes, low_bytes)")


cdef bint make_room(
    Stream self, object frames, Py_ssize_t size, Delivery delivery, bint accepted
) except -1:
    """The outbox is full. Returns whether to put the message there anyway.

    `accepted`: send() has taken it already, in another thread, which has seen to the policy "raise".
    """
    self.out.above_high = True
    if self.out.policy == RAISE:
        if not accepted:
            raise queue_full(self)
        return True
    if self.out.policy == DROP_NEWEST:
        drop(self, frames, delivery)
        return False
    while not owned_elsewhere(self) and self.out.is_full(size):
        drop_oldest(self)
    return True


cdef int drop_oldest(Stream self) except -1:
    cdef Ring ring = self.out.oldest_ring()
    cdef list record = None
    if is_heard(self, ring.first_delivery()):
        record = new_drop(self)  # allocated before the message leaves the outbox
        if self.out.queued == 0:  # the garbage collector ran user code
            self.unreported.pop()
            return 0
        ring = self.out.oldest_ring()
        record[0], record[1] = <object> ring.oldest().frames, ring.first_delivery()
    ring.take_delivery()
    self.out.discard(ring)
    zs_count(ZS_FAILED, 1)
    return dropped(self, record is not None)


cdef int drop(Stream self, object frames, Delivery delivery) except -1:
    """Drop a message that is not in the outbox."""
    cdef list record = None
    if is_heard(self, delivery):
        record = new_drop(self)
        record[0], record[1] = frames, delivery
    return dropped(self, record is not None)


cdef list new_drop(Stream self):
    """Record a drop, to be reported. The caller must set its frames and its Delivery at once.

    What may run out of memory comes first, so that no message leaves without an outcome.
    """
    cdef list record = [None, None, MessageDropped()]
    cdef object fresh = None if self.unreported is not None else deque()
    if self.unreported is None:
        self.unreported = fresh
    self.unreported.append(record)
    return record


cdef int dropped(Stream self, bint heard) except -1:
    """A message was dropped. `heard`: that will be reported."""
    self.counts.dropped += 1
    if not heard:
        return log_drop(self)
    if self.state != READY and self.state < CLOSED:
        self.reactor.enqueue(self)
    return 0


cdef int log_drop(Stream self) except -1:
    """Log that messages are dropped: once, until the queue has fallen to `low`."""
    if not self.out.drop_logged:
        self.out.drop_logged = True
        _logger.warning(
            "%r: the queue is full, and messages are dropped; stats().dropped counts them", self)
    return 0


cdef bint report_dropped(Stream self, Budget *budget) except -1:
    """Report what was dropped. Returns whether the budget is spent."""
    cdef object frames, delivery, error
    while self.unreported:
        frames, delivery, error = self.unreported.popleft()
        report_outcome(self, frames, delivery, error, budget.raising)
        if self.state >= CLOSED:
            return False
        if budget_spend(budget):
            return True
    return False


# -- when there is room -----------------------------------------------------------------------------

cdef int check_levels(Stream self) except -1:
    """Wake those who wait for the outbox to fall to a level that it has reached."""
    cdef Waiters waiters = self.waiters
    if self.out.above_high and self.out.fell_to_low():
        self.drain_due = self.drain_callback is not None
    # If one of these raises, the next operation does the rest.
    if waiters is not None and waiters.room_waiters and not self.out.above_high:
        wake_futures(self, waiters.room_waiters)
    if self.drain_due:
        if not self.drain_scheduled:
            self.reactor.call_soon(self._call_on_drain, ())
            self.drain_scheduled = True
        self.drain_due = False
    if waiters is not None and waiters.empty_waiters and queued_messages(self) == 0:
        wake_futures(self, waiters.empty_waiters)
    return 0


# -- for how long -----------------------------------------------------------------------------------

cdef int64_t seconds_ns(double seconds) noexcept:
    return <int64_t> min(seconds * 1e9, LONGEST_NS)


cdef int set_expiry_timer(Stream self) except -1:
    """Have _on_expiry() called at the next deadline.

    A timer of a message that has left stays: it costs less than to cancel it.
    """
    cdef int64_t first = self.out.next_deadline()
    if first == 0 or (self.expiry_timer is not None and first >= self.expiry_at):
        return 0
    if self.expiry_timer is not None:
        self.expiry_timer.cancel()
    self.expiry_timer = self.reactor.loop.call_later(max(0, first - zs_now()) * 1e-9, self._on_expiry)
    self.expiry_at = first
    self.reactor.called = True  # our own loop must look at its timers again before it sleeps
    return 0


cdef int expire_overdue(Stream self) except -1:
    """Expire overdue messages, within a turn's budget. The timer is set again for the rest."""
    cdef Budget budget
    cdef Delivery delivery
    cdef int64_t now = zs_now()
    budget_start(&budget, self.turn_messages, self.turn_ns, now)
    while self.state < CLOSED:
        delivery = self.out.take_overdue(now)
        if delivery is None:
            break
        expire(self, delivery, False)
        if budget_spend(&budget):
            break
    return 0


cdef bint expire_oldest(Stream self, Ring ring, bint raising) except -1:
    """Expire the oldest message of `ring` if its deadline has passed. Returns whether it has."""
    cdef Delivery delivery = ring.first_delivery()
    if delivery.deadline == 0 or delivery.deadline > zs_now():
        return False
    expire(self, delivery, raising)
    return True


cdef int expire(Stream self, Delivery delivery, bint raising) except -1:
    cdef object frames = self.out.cancel(delivery)
    cdef bint by_socket = delivery.awaited is not None and delivery.awaited.limited
    zs_count(ZS_FAILED, 1)
    self.counts.expired += 1
    try:
        report_outcome(
            self, frames, delivery, zmq_error(EAGAIN) if by_socket else MessageExpired(), raising)
    finally:
        delivery.release()
    return 0


cdef int end_flow(Stream self) except -1:
    """The stream was closed: cancel its timer, and report drops to the coroutines that wait for them."""
    cdef object delivery, error
    if self.expiry_timer is not None:
        self.expiry_timer.cancel()
        self.expiry_timer = None
    while self.unreported:
        _, delivery, error = self.unreported[0]
        if delivery is not None and (<Delivery> delivery).awaited is not None:
            (<Delivery> delivery).awaited.report(error, None)
        self.unreported.popleft()  # not before: report() may raise, and the next close() repeats it
    return 0
