# The way out: from the queue to libzmq, and what is told of each message's outcome.

from cpython.ref cimport Py_XDECREF

cdef extern from *:
    """
    static inline int zs_is_awaitable (PyObject *o)
    {
        PyAsyncMethods *async = Py_TYPE (o)->tp_as_async;
        return async != NULL && async->am_await != NULL;
    }
    """
    bint is_awaitable "zs_is_awaitable"(object o) noexcept

cdef enum:
    TURN_MESSAGES = 256    # a turn's budget, unless set_turn_limits() says otherwise
    TURN_NS = 1_000_000    # likewise
    LIES = 3             # POLLOUTs in a row that were followed by a refusal: no longer believed
    PARK_MESSAGES = 1024  # parked in a turn at most: 0.1 us each, more if libzmq refuses them first
    RETRY_PEERS = 32     # parked peers tried in a turn, those first that waited longest


cdef bytes peer_of(PyObject *frames):
    """The routing id that a message to a ROUTER begins with."""
    cdef object first
    if PyTuple_CheckExact(frames):
        frames = PyTuple_GET_ITEM(frames, 0)
    first = <object> frames
    return first if type(first) is bytes else bytes(first)


cdef object not_handed_over():
    return OSError("Stream is closed: the message was not handed to libzmq")


# -- the stream's, whose flow is in flow.pyx, and whose life in stream.pyx -----------------


# -- draining -------------------------------------------------------------------------------


cdef int send_queued(Stream self, Budget *budget) except -1:
    """Hand messages to libzmq, oldest first. Returns 1 if the budget ended it."""
    cdef SendQueue queue = self.out.queue
    cdef Item *item
    cdef void *handle
    cdef bytes peer
    cdef int code, parked = 0
    while queue.count:
        if parked == PARK_MESSAGES and not budget.raising:
            return 1
        handle = self.handle()
        if handle is NULL:
            self.failed(ENOTSOCK)
            return 0
        item = &queue.items[queue.head]
        if self.out.parked_count:
            peer = peer_of(item.frames)
            if peer in self.out.parked:
                park(self, peer)
                parked += 1
                continue
            item = &queue.items[queue.head]  # a Frame's bytes take memory: a thread may have sent
        if item.has_extra and expire_overdue(self, queue, budget.raising):
            if spent(budget):
                return 1
            continue
        code = message_out(handle, self.socket_type, item.frames, item.flags)
        if code == EAGAIN:
            if self.socket_type != TYPE_ROUTER:
                self.blocked = True
                return 0
            park(self, peer_of(item.frames))
            parked += 1
            continue
        if code == EINTR:
            interrupted(self)
            continue
        self.lies = 0
        if code == 0 and not item.has_extra and self.send_callback is None:
            zs_count(ZS_SENT, 1)
            self.messages_out += 1
            self.bytes_out += item.size
            self.out.removed(item.size)
            queue.pop()
        else:
            if not handed_over(self, queue, code, budget.raising):
                return 0
        if spent(budget):
            return 1
    return 0


cdef int interrupted(Stream self) except -1:
    """A signal interrupted libzmq, which has done nothing."""
    PyErr_CheckSignals()
    return self.reactor.check()


cdef int handed_over(Stream self, SendQueue queue, int code, bint raising) except -1:
    """libzmq took the oldest message of `queue`, or refused it for good with error `code`.

    Returns 0 if it refuses the socket itself. Otherwise, a callback may have closed the stream.
    """
    if code == ETERM or code == ENOTSOCK:
        self.failed(code)
        return 0
    outcome(self, queue, code, raising)
    self.reactor.check_process()
    return 1


cdef int outcome(Stream self, SendQueue queue, int code, bint raising) except -1:
    """Take the oldest message off `queue`, and tell what became of it."""
    cdef SendExtra extra = queue.take_extra()
    cdef Py_ssize_t size = queue.items[queue.head].size
    cdef object frames = queue.pop()
    zs_count(ZS_SENT if code == 0 else ZS_FAILED, 1)
    if queue is not self.out.queue:
        unparked(self, queue)
    self.out.removed(size)
    if code == 0:
        self.messages_out += 1
        self.bytes_out += size
    else:
        self.errors += 1
    return tell(self, frames, extra, None if code == 0 else zmq_error(code), raising)


cdef int tell(Stream self, object frames, SendExtra extra, object error, bint raising) except -1:
    """Tell what became of a message that is in no queue any more."""
    cdef bint told
    if error is None:
        return tell_sender(self, frames, extra, None, False, raising)
    try:
        told = tell_error(self, error, raising)
    except BaseException:
        tell_sender(self, frames, extra, error, True, False)  # has an outcome all the same
        raise
    return tell_sender(self, frames, extra, error, told, raising)


cdef int tell_sender(
    Stream self, object frames, SendExtra extra, object error, bint told, bint raising
) except -1:
    """Tell the message's own callbacks or coroutine, or on_send's callback, or else the log.

    `told`: on_err's callback knows of the error.
    """
    cdef object callback, status = error
    cdef list message
    if error is None and extra is not None:
        status = extra.tracker
    if extra is not None and extra.awaited is not None:
        (<AwaitedSend> extra.awaited).alone = not told
        return (<AwaitedSend> extra.awaited).tell(error, extra.tracker)
    if self.state == CLOSED:  # by on_err's callback
        return 0
    callback = self.send_callback if extra is None or extra.callback is None else extra.callback
    if callback is None:
        if error is not None and not told:
            _logger.error("%r: a message could not be sent: %s", self, error)
        return 0
    message = list(frames) if type(frames) is tuple else [frames]
    if extra is not None and extra.callback is not None:
        return call_own(self, extra, message, status, raising)
    return call_back(self, 
        "the on_send callback", callback,
        (self, message, status) if self.send_stream else (message, status), self.send_context,
        raising)


cdef int call_own(Stream self, SendExtra extra, list message, object status, bint raising) except -1:
    """Call a message's own callback, and those of its further parts, whatever the others raise."""
    cdef object failure = None
    while extra is not None and self.state != CLOSED:
        try:
            call_back(self, 
                "the on_send callback", extra.callback,
                (message if extra.further is None else list(message), status), extra.context,
                raising and failure is None)
        except BaseException as error:
            failure = error
        extra = extra.further
    if failure is not None:
        raise failure
    return 0


# -- parking --------------------------------------------------------------------------------
# A ROUTER with ROUTER_MANDATORY refuses a message to a peer that has no room, and takes those
# to others. What is refused is parked, peer by peer, so that nobody waits for somebody else's
# room and each peer's order holds. Its POLLOUT says only that some peer has room, so parked
# messages are tried again in each turn, and such a stream gets one by the clock.


cdef int park(Stream self, bytes peer) except -1:
    """Move the oldest message to those that wait for `peer` to have room."""
    cdef Item *item
    cdef SendQueue waiting
    if self.out.parked is None:
        self.out.parked = {}
    waiting = self.out.parked.get(peer)
    if waiting is None:
        waiting = SendQueue()  # where garbage is collected anything may run, as a thread that sends
        if self.out.queue.count == 0 or peer_of(self.out.queue.items[self.out.queue.head].frames) != peer:
            return 0
        waiting.peer = peer
        self.out.parked[peer] = waiting
    item = &self.out.queue.items[self.out.queue.head]
    # before it leaves the queue: memory may be short
    waiting.push(<object> item.frames, item.size, item.flags, self.out.queue.first_extra())
    self.out.queue.take_extra()
    self.out.queue.pop()
    self.out.parked_count += 1
    self.set_retry(True)
    return 0


cdef int unpark(Stream self, Budget *budget) except -1:
    """Try parked messages again, of the peers that waited longest. 1: the budget ended it."""
    cdef SendQueue waiting
    cdef void *handle
    cdef int code
    cdef bint ended = False
    cdef list peers = list(self.out.parked)
    cdef Py_ssize_t count = len(peers), n
    cdef Py_ssize_t first = peers.index(self.out.next_parked) if self.out.next_parked in self.out.parked else 0
    # They take turns by where the next one begins. Nothing is taken out of `parked` to be put
    # back: there might be no memory for that.
    for n in range(first, first + min(count, <Py_ssize_t> RETRY_PEERS)):
        peer = peers[n % count]
        self.out.next_parked = peers[(n + 1) % count]
        waiting = self.out.parked.get(peer)
        while waiting is not None and waiting.count and not ended:
            handle = self.handle()
            if handle is NULL:
                self.failed(ENOTSOCK)
                return 0
            if waiting.items[waiting.head].has_extra and expire_overdue(self, waiting, budget.raising):
                ended = spent(budget)
                if self.state == CLOSED:
                    return 0
                continue
            code = message_out(
                handle, self.socket_type, waiting.items[waiting.head].frames,
                waiting.items[waiting.head].flags)
            if code == EAGAIN:
                break
            if code == EINTR:
                interrupted(self)
                continue
            ended = spent(budget)
            if not handed_over(self, waiting, code, budget.raising):
                return 0
            if self.state == CLOSED:
                return 0
        if waiting is not None and self.out.parked is not None and self.out.parked.get(peer) is waiting:
            if waiting.count == 0:
                del self.out.parked[peer]  # there was no memory to park the first
        if ended:
            return 1
    return 0


cdef int unparked(Stream self, SendQueue waiting) except -1:
    """A message has left those that wait for its peer. Before user code runs: it may drop others."""
    self.out.parked_count -= 1
    if waiting.count == 0 and self.out.parked.get(waiting.peer) is waiting:
        del self.out.parked[waiting.peer]
    return 0


cdef int look_at_mailbox(Stream self) noexcept:
    """Have libzmq see the peers that have come, and those that have made room.

    When it sends, it looks for them at most once in a millisecond. Errors show in what follows.
    """
    cdef int events = 0
    cdef size_t size = sizeof(int)
    cdef void *handle = self.handle()
    if handle is not NULL:
        lib.getsockopt(handle, OPT_EVENTS, &events, &size)
    return 0


cdef Py_ssize_t last_drain(Stream self) except -1:
    """Before close: hand over what libzmq takes, and tell nobody.

    Returns how many it refused for good; what else it did not take is still queued.
    """
    cdef Py_ssize_t refused = 0
    cdef SendQueue queue
    cdef SendExtra extra
    cdef list queues = [self.out.queue]
    cdef object peer = None
    cdef int code = 0
    if self.out.parked:
        queues = [*self.out.parked.values(), self.out.queue]
    cdef set full = set()
    if self.out.queue.count or self.out.parked_count:
        look_at_mailbox(self)
    for queue in queues:
        while queue.count and self.handle() is not NULL:
            if self.socket_type == TYPE_ROUTER:
                peer = peer_of(queue.items[queue.head].frames)
                code = EAGAIN if peer in full else 0
            if code != EAGAIN:
                code = message_out(
                    self.handle(), self.socket_type, queue.items[queue.head].frames,
                    queue.items[queue.head].flags)
                if code == EINTR and fork_generation == self.reactor.generation:
                    continue
            if code != 0:
                if self.socket_type != TYPE_ROUTER and (code == EAGAIN or code == ETERM):
                    break
                refused += 1
                full.add(peer)
            else:
                self.messages_out += 1
                self.bytes_out += queue.items[queue.head].size
            zs_count(ZS_SENT if code == 0 else ZS_UNSENT, 1)
            self.out.removed(queue.items[queue.head].size)
            extra = queue.take_extra()
            queue.pop()
            if extra is not None and extra.awaited is not None:
                (<AwaitedSend> extra.awaited).tell(
                    None if code == 0 else not_handed_over() if code == EAGAIN else zmq_error(code),
                    extra.tracker)
    return refused


# -- user code ------------------------------------------------------------------------------


cdef int call_back(
    Stream self, str what, object callback, tuple args, object context, bint raising
) except -1:
    """Call anything but on_recv's callback. `raising`: a flush, whose caller gets exceptions."""
    cdef object result, failure = None
    cdef int64_t began = zs_now() if self.timing else 0
    self.reactor.epoch += 1
    context = context.copy()  # it may be entered already, further out
    try:
        result = context.run(callback, *args)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        failure = error
    if began:
        account(self, began, what, callback)
    if failure is not None:
        if raising:
            raise failure
        return report(self.reactor.loop, what, self, callback, failure)
    if is_awaitable(result):
        context.run(self._returned, result, callback)  # its task copies the context that is current
    return 0


cdef int account(Stream self, int64_t began, str what, object callback) except -1:
    """Account for a callback that began then; in debug mode, log it if it was slow."""
    cdef int64_t took = zs_now() - began
    cdef double limit
    self.callback_ns += took
    if self.debug:
        limit = self.reactor.loop.slow_callback_duration
        if took >= limit * 1e9:
            _logger.warning("%r: %s took %.3f s: %r", self, what, took * 1e-9, callback)
    return 0


cdef int returned(Stream self, object result, object callback) except -1:
    """A callback returned something: if it can be awaited, it is, and held until it ends."""
    cdef object task
    if not is_awaitable(result):
        return 0
    task = start(self, result, callback)
    if task is not None:
        if self.tasks is None:
            self.tasks = set()
        self.tasks.add(task)
        task.add_done_callback(self._task_done)
    return 0


cdef object start(Stream self, object result, object callback):
    """Have the loop await what a callback returned. Returns the task, or None and that is reported."""
    cdef object task = None, failure = None
    try:
        task = asyncio.ensure_future(result, loop=self.reactor.loop)
    except Exception as error:
        failure = error
    if failure is not None:
        report(self.reactor.loop, "starting a coroutine callback", self, callback, failure)
    return task


cdef int task_ended(Stream self, object task) except -1:
    cdef object error = None if task.cancelled() else task.exception()
    # KeyboardInterrupt and SystemExit have left the loop already
    if error is not None and not isinstance(error, (KeyboardInterrupt, SystemExit)):
        report(self.reactor.loop, "a coroutine callback", self, task, error)
    return 0


cdef bint tell_error(Stream self, object error, bint raising) except -1:
    """Tell on_err's callback. Returns whether there is one."""
    if self.err_callback is None:
        return False
    call_back(self, "the on_err callback", self.err_callback, (error,), self.err_context, raising)
    return True
