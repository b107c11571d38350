# The start of the way out: check a message, join its parts, and put it into the outbox. A message that
# another thread sends goes into the mailbox, until the stream's next turn.

cdef extern from "Python.h":
    unsigned long long current_thread_id "PyThreadState_GetID"(void *) noexcept
    void *PyThreadState_Get() noexcept

# Held while a mailbox is opened or its stream closed, so that no letter enters a mailbox unnoticed.
cdef PyThread_type_lock opening = PyThread_allocate_lock()


# Whether a message with frames that cannot be sent is reported later, as pyzmq's class logs it, and not
# raised at the call: while zmqstream.install() has put our class in the place of pyzmq's.
cdef bint reports_refusals = False


def report_refusals(bint reports):
    """Report messages that cannot be sent, or raise their errors at the call."""
    global reports_refusals
    reports_refusals = reports


@cython.final
cdef class PartialMessage:
    """The parts that one thread has sent with SNDMORE, until the last one comes."""
    cdef list frames
    cdef list deliveries

    def __cinit__(self):
        self.frames = []
        self.deliveries = []

    cdef object all_frames(self):
        """As a snapshot: a frame, or a tuple of several."""
        return tuple(self.frames) if len(self.frames) > 1 else self.frames[0]


cdef int send_message(
    Stream self, object message, int flags, bint copy, bint track, object callback, object timeout
) except -1:
    """Check what send_multipart() was given, and send it."""
    cdef Delivery delivery = None
    cdef list trackers
    cdef object frames, tracker
    cdef int64_t deadline
    check_sendable(self)
    if copy and not track and callback is None and timeout is None:
        frames = only_bytes(message)
        if frames is not None:
            return send_frames(self, frames, flags, None)
    check_callable(callback, "send")
    deadline = deadline_of(timeout, "send")
    trackers = []
    try:
        frames = snapshot(message, socket_to_send(self), copy, track, trackers)
    except (TypeError, ValueError) as error:
        if not reports_refusals:
            raise
        return report_refusal(self, message, callback, error)
    tracker = tracker_of(trackers) if trackers else None
    if callback is not None or tracker is not None or deadline:
        delivery = Delivery(new_callback(callback, "on_send"), tracker, deadline)
    check_sendable(self)  # again, because the snapshot may have run user code
    return send_frames(self, frames, flags, delivery)


cdef inline Socket socket_to_send(Stream self):
    """The stream's socket, in any thread. Raises if the stream has just been closed."""
    if not zs_free_threaded:
        return self.sock
    with cython.critical_section(self):
        if self.sock is not None:
            return self.sock
    raise OSError("Stream is closed")


cdef int report_refusal(Stream self, object message, object callback, object error) except -1:
    """Report soon, in the loop's thread, that `message` cannot be sent."""
    cdef Delivery delivery = None
    if callback is not None:
        delivery = Delivery(new_callback(callback, "on_send"))
    self.reactor.call_soon(self._report_refusal, (message, delivery, error))
    return 0


cdef inline int send_frames(Stream self, object frames, int flags, Delivery delivery) except -1:
    """Send a snapshot, in any thread: a message, or a part of one."""
    if flags & SNDMORE or self.parts:
        return send_part(self, frames, flags, delivery)
    return send_whole(self, frames, flags, delivery)


cdef inline int send_whole(Stream self, object frames, int flags, Delivery delivery) except -1:
    cdef Py_ssize_t size = size_of(<PyObject *> frames)
    if not owns(self):
        return post(self, frames, size, flags, delivery)
    if not zs_free_threaded:
        return send_here(self, frames, size, flags, delivery)
    with cython.critical_section(self.reactor):  # a loop that begins in another thread waits
        return send_here(self, frames, size, flags, delivery)


cdef inline int send_here(
    Stream self, object frames, Py_ssize_t size, int flags, Delivery delivery
) except -1:
    """In the thread that owns the stream."""
    if has_mail(self):
        collect_mail(self)  # those messages were sent before this one
    if self.out.policy != WAIT and self.out.is_full(size):
        if not make_room(self, frames, size, delivery, False):
            return 0
        check_usable(self)  # again, because a log handler may run any code
    if owned_elsewhere(self):
        return post(self, frames, size, flags, delivery)
    enqueue(self, frames, size, flags, delivery)
    return self.out.check_high()


cdef inline int enqueue(
    Stream self, object frames, Py_ssize_t size, int flags, Delivery delivery
) except -1:
    """Put a message into the outbox, and let the stream take a turn."""
    if self.state != READY:
        self.reactor.enqueue(self)  # first: if the loop cannot be woken, the message is not queued
        if owned_elsewhere(self):
            return post(self, frames, size, flags, delivery)
    if delivery is not None and delivery.deadline:
        self.out.add_deadline(delivery)
    self.out.put(frames, size, flags, delivery)
    zs_count(ZS_QUEUED, 1)
    return 0


# -- messages that come in parts: queued as a whole, or a refusal or an error could part them ----------

cdef int send_part(Stream self, object frames, int flags, Delivery delivery) except -1:
    cdef PartialMessage whole = gather_part(self, frames, flags, delivery)
    if whole is None:
        return 0
    return send_whole(self, whole.all_frames(), flags, join_deliveries(whole.deliveries))


cdef PartialMessage gather_part(Stream self, object frames, int flags, Delivery delivery):
    """Keep a part of this thread's message. Returns all parts with the last one, and None before."""
    cdef unsigned long long thread = current_thread_id(PyThreadState_Get())
    cdef PartialMessage partial
    cdef dict parts
    if self.parts is None:
        parts = {}
        if self.parts is None:  # checked now: the garbage collector may have let other threads run
            self.parts = parts
    partial = self.parts.get(thread)
    if partial is None:
        partial = PartialMessage()
        if flags & SNDMORE:
            self.parts[thread] = partial
    partial.frames.extend(frames if type(frames) is tuple else (frames,))
    if delivery is not None:
        partial.deliveries.append(delivery)
    if flags & SNDMORE:
        return None
    self.parts.pop(thread, None)  # it has gone if the stream has just been closed
    return partial


cdef Delivery join_deliveries(list deliveries):
    """The Delivery of a message in parts: all their callbacks, and the earliest deadline."""
    cdef Delivery each, first = None, last = None
    cdef list trackers = []
    cdef int64_t deadline = 0
    if not deliveries:
        return None
    for each in deliveries:
        if each.deadline and (deadline == 0 or each.deadline < deadline):
            deadline = each.deadline
        if each.tracker is not None:
            trackers.append(each.tracker)
        if each.callback is not None:
            if first is None:
                first = each
            else:
                last.next_part = each
            last = each
    if first is None:
        first = Delivery()
    first.tracker = tracker_of(trackers)
    first.deadline = deadline
    return first


# -- from other threads -------------------------------------------------------------------------------

cdef int post(Stream self, object frames, Py_ssize_t size, int flags, Delivery delivery) except -1:
    """Put a letter into the mailbox, and have the loop collect it."""
    cdef Posting posting
    if self.mailbox is None:
        open_mailbox(self)
    posting = self.mailbox.put(self.out, (frames, size, flags, delivery), not is_heard(self, delivery))
    if posting == REFUSED_SHUT:
        check_open(self)
        raise OSError("Stream is closed")
    if posting == REFUSED_FULL:
        raise queue_full(self)
    if posting == FIRST:
        try:
            self.reactor.post(self)
        except RuntimeError:
            if not self.reactor.loop.is_closed():
                raise  # the loop was closed just now: close() will hand it over
    return 0


cdef int open_mailbox(Stream self) except -1:
    cdef Mailbox mailbox = Mailbox()
    PyThread_acquire_lock(opening, WAIT_LOCK)
    if self.mailbox is None:
        mailbox.is_shut = self.state >= CLOSED
        self.mailbox = mailbox
    PyThread_release_lock(opening)
    return 0


cdef int close_for_senders(Stream self) except -1:
    """Become closed. From now on other threads get an error when they send; no message is lost."""
    PyThread_acquire_lock(opening, WAIT_LOCK)
    become(self, CLOSED)
    PyThread_release_lock(opening)
    if self.mailbox is not None:
        self.mailbox.shut()
    return 0


cdef inline bint has_mail(Stream self) noexcept:
    return self.mailbox is not None and zs_load(&self.mailbox.has_mail)


cdef int collect_mail(Stream self) except -1:
    """Move what other threads have sent into the outbox."""
    cdef object letters, frames
    cdef list unreported
    cdef Delivery delivery
    cdef Py_ssize_t size, dropped
    cdef int flags
    letters, dropped, unreported = self.mailbox.take()
    if dropped:
        self.counts.dropped += dropped
        log_drop(self)
    for frames, _, _, delivery in unreported:
        drop(self, frames, delivery)
    while letters:
        frames, size, flags, delivery = letters.popleft()
        try:
            if self.out.policy == WAIT or not self.out.is_full(size) or make_room(
                self, frames, size, delivery, True
            ):
                collect_letter(self, frames, size, flags, delivery)
        except MemoryError:
            self.counts.errors += 1
            report_outcome(self, frames, delivery, zmq_error(ENOMEM), False)
    return 0


cdef int collect_letter(
    Stream self, object frames, Py_ssize_t size, int flags, Delivery delivery
) except -1:
    if self.state < CLOSED:
        enqueue(self, frames, size, flags, delivery)
        return self.out.check_high()
    # close() is running, and will hand it over
    self.out.put(frames, size, flags, delivery)
    zs_count(ZS_QUEUED, 1)
    return 0


cdef Py_ssize_t queued_messages(Stream self) noexcept:
    """Messages that wait to be handed to libzmq, sent by any thread."""
    return zs_load_count(&self.out.queued) + (
        0 if self.mailbox is None else zs_load_count(&self.mailbox.count))


cdef int64_t queued_bytes(Stream self) noexcept:
    return zs_load_bytes(&self.out.queued_bytes) + (
        0 if self.mailbox is None else zs_load_bytes(&self.mailbox.size))


cdef int warn_of_unknown(dict kwargs) except -1:
    warnings.warn(
        f"ignored by ZMQStream, as by pyzmq's: {', '.join(kwargs)}", RuntimeWarning, stacklevel=2)
    return 0
