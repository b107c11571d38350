# Awaiting: messages one by one for coroutines, sends that are told to their caller, and levels.
#
# - What is there is had without the loop (awaitables.pyx); but after a turn's worth of that the loop goes
#   once round.
# - A receiver that finds no message stands in `receivers`, in order. The first of them wants POLLIN:
#   settle() sees it and wakes it (`awaited` is False from then on). It receives when it runs; the next
#   is seen to in the stream's next turn. So no message is ever in anybody's hands who may be cancelled.
# - asend() has tried already when it returns. What libzmq did not take stands in the queue, and who
#   is cancelled while it does takes it back.


cdef int wake_receiver(Stream self) except -1:
    """The first that waits may try: it wants no events from now on, but runs."""
    self.awaited = False
    return self.reactor.wake_future((<AwaitedMessage> self.receivers[0]).future)


# -- pace: half a turn's worth, and another half if the loop has not come by meanwhile -----------


cdef int begin_pace(Stream self) except -1:
    begin(&self.paced, max(1, self.turn_messages // 2), self.turn_ns // 2, zs_now())
    return 0


cdef bint pace_over(Stream self) except -1:
    """Whether the loop is to be let go once round: it has had no chance to for so long.

    It may have had many, and this is the first message for a minute: ask it to say so.
    """
    begin_pace(self)
    if self.pace_asked:
        return True
    self.reactor.call_soon(self._loop_came_by, ())
    self.pace_asked = True
    return False


cdef int check_running(Stream self) except -1:
    if asyncio._get_running_loop() is not self.reactor.loop:
        check_usable(self)
        raise RuntimeError("a stream can only be awaited in its own event loop")
    return 0


# -- receiving ------------------------------------------------------------------------------


cdef int check_receivable(Stream self, Kind kind) except -1:
    if self.state == CLOSED or self.handle() is NULL or self.reactor.generation != fork_generation:
        if self.ended_by is not None:
            raise self.ended_by
        if kind == ITEM and self.state == CLOSED and self.reactor is not None:
            raise StopAsyncIteration
        check_usable(self)
    if self.closing:
        if kind == ITEM:
            raise StopAsyncIteration
        raise OSError("Stream is closed: aclose() has begun")
    if self.recv_callback is not None:
        raise RuntimeError(
            f"{self!r} has a receive callback; await its messages, or have them given to it, not both")
    if self.debug:
        check_thread(self, "recv")
    return 0


cdef object receive_one(Stream self, bint copy):
    """A message that is there; None if there is none."""
    cdef zmq_msg_t msg
    cdef void *handle
    cdef int size, code
    cdef list message
    lib.msg_init(&msg)
    zs_count(ZS_MSGS, 1)
    try:
        while True:
            handle = self.handle()
            if handle is NULL:
                self.failed(ENOTSOCK)
                check_open(self)
            size = lib.msg_recv(&msg, handle, DONTWAIT)
            if size >= 0:
                break
            code = lib.last_error()
            if code == EAGAIN:
                return None
            if code == EINTR:
                interrupted(self)
            elif code == EFSM and self.out.queued:
                return None  # a REQ, whose request is still in the queue
            elif code == ETERM or code == ENOTSOCK:
                self.failed(code)
                raise zmq_error(code)
            else:
                raise zmq_error(code)
        zs_count(ZS_RECEIVED, 1)
        zs_count(ZS_GIVEN_UP, 1)  # until it is there
        self.messages_in += 1
        if copy and not lib.msg_more(&msg):
            message = [bytes_in(&msg, size)]
            self.bytes_in += PyBytes_GET_SIZE(message[0])
        else:
            message = message_in(handle, &msg, size, copy, &self.bytes_in)
        zs_count(ZS_GIVEN_UP, -1)
        zs_count(ZS_DELIVERED, 1)
        return message
    finally:
        lib.msg_close(&msg)
        zs_count(ZS_MSGS, -1)


cdef AwaitedMessage receiver(Stream self, Kind kind, bint copy):
    cdef AwaitedMessage receiver = AwaitedMessage.__new__(AwaitedMessage)
    receiver.stream = self
    receiver.kind = kind
    receiver.copy = copy
    return receiver


# -- sending --------------------------------------------------------------------------------


cdef AwaitedLevel level(Stream self, bint emptied):
    cdef AwaitedLevel awaited = AwaitedLevel.__new__(AwaitedLevel)
    awaited.stream = self
    awaited.emptied = emptied
    return awaited


cdef int end_awaiting(Stream self) except -1:
    """The stream has been closed: let those go on that wait, to be told so."""
    cdef AwaitedMessage each
    self.awaited = False
    while self.receivers:
        each = self.receivers.popleft()
        if each.future is not None:
            self.reactor.wake_future(each.future)
    return 0
