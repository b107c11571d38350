# What a program gives to be sent: checked, joined where it comes in parts, and queued.


# -- the public face: sending ---------------------------------------------------------------


cdef int queue_message(
    Stream self, object msg, int flags, bint copy, bint track, object callback, object timeout
) except -1:
    cdef SendExtra extra = None
    cdef list trackers
    cdef object frames, tracker
    cdef int64_t deadline
    check_usable(self)
    if (
        self.parts is None and type(msg) is list and PyList_GET_SIZE(<PyObject *> msg) == 1
        and copy and not track and callback is None and timeout is None
        and PyBytes_CheckExact(PyList_GET_ITEM(<PyObject *> msg, 0))
    ):
        return enqueue_frames(self, <object> PyList_GET_ITEM(<PyObject *> msg, 0), flags, None)
    check_callback(callback, "send")
    deadline = deadline_of(timeout, "send")
    trackers = []
    frames = snapshot(msg, self.sock, copy, track, trackers)
    tracker = tracker_of(trackers) if trackers else None
    if callback is not None or tracker is not None or deadline:
        extra = SendExtra(callback, context_for(callback), tracker, deadline)
    check_usable(self)  # again: the snapshot may have run user code, and other threads
    return enqueue_frames(self, frames, flags, extra)


cdef int enqueue_parts(Stream self, object frames, int flags, SendExtra extra) except -1:
    """A message that comes in several sends: one item, when its last part is there.

    As items of their own they could be parted: by a peer that refuses one, by an error.
    """
    if self.parts is None:
        self.parts = []
        self.part_extras = []
    self.parts.extend(frames if type(frames) is tuple else (frames,))
    if extra is not None:
        self.part_extras.append(extra)
    if flags & SNDMORE:
        return 0
    frames = tuple(self.parts) if len(self.parts) > 1 else self.parts[0]
    extra = join_extras(self.part_extras)
    self.parts = self.part_extras = None
    return enqueue_frames(self, frames, flags, extra)


cdef int enqueue_frames(Stream self, object frames, int flags, SendExtra extra) except -1:
    cdef Py_ssize_t size
    if flags & SNDMORE or self.parts is not None:
        return enqueue_parts(self, frames, flags, extra)
    size = size_of(<PyObject *> frames)
    if self.out.policy != WAIT and self.out.is_full(size):
        if not make_room(self, frames, size, extra):
            return 0
        check_usable(self)  # again: where a drop is logged anything may run
    if extra is not None and extra.deadline:
        watch_deadline(self, extra)
    enqueue_item(self, frames, size, flags, extra)
    if self.out.queued > self.out.high or self.out.queued_bytes > self.out.high_bytes:
        self.out.over = True
    return 0


cdef inline int enqueue_item(
    Stream self, object frames, Py_ssize_t size, int flags, SendExtra extra
) except -1:
    cdef State before
    self.out.queue.push(frames, size, flags, extra)
    self.out.queued += 1
    self.out.queued_bytes += size
    self.out.peak_queued = max(self.out.peak_queued, self.out.queued)
    if self.state != READY:
        before = self.state
        try:
            self.reactor.enqueue(self)
        except BaseException:
            # The loop could not be woken: what raises has sent nothing, and the next one tries.
            if self.out.queue.take_back(frames):
                self.out.removed(size)
            if self.state == READY:  # and not closed meanwhile, by another thread
                self.reactor.unlink(self)
                self.become(before)
            raise
    zs_count(ZS_QUEUED, 1)
    return 0


cdef SendExtra join_extras(list extras):
    """Of a message that came in parts: every callback that came with one is told of the message.

    It expires with the first of them.
    """
    cdef SendExtra each, first = None, last = None
    cdef list trackers = []
    cdef int64_t deadline = 0
    if not extras:
        return None
    for each in extras:
        if each.deadline and (deadline == 0 or each.deadline < deadline):
            deadline = each.deadline
        if each.tracker is not None:
            trackers.append(each.tracker)
        if each.callback is not None:
            if first is None:
                first = each
            else:
                last.further = each
            last = each
    if first is None:
        first = SendExtra(None, None, None, 0)
    first.tracker = tracker_of(trackers)
    first.deadline = deadline
    return first


cdef int warn_of_unknown(dict kwargs) except -1:
    warnings.warn(
        f"ignored by ZMQStream, as by pyzmq's: {', '.join(kwargs)}", RuntimeWarning, stacklevel=2)
    return 0
