# Frames: zmq_msg_t <-> bytes and zmq.Frame, multipart in and out.
#
# Facts about libzmq that this file relies on:
# - zmq_msg_recv() first drops what the zmq_msg_t held, so one of them serves a whole turn;
# - it returns the frame's size, cut at INT_MAX;
# - once a message's first frame was received, the others are there;
# - once the first was accepted for sending, the others are, unless the peer's pipe ends in the
#   middle: then libzmq takes back the frames that it had, refuses one with EAGAIN and drops what
#   follows, up to the message's last frame;
# - after a successful zmq_msg_send() the zmq_msg_t is empty and needs no close.


cdef extern from "Python.h":
    void PyList_SET_ITEM(PyObject *list, Py_ssize_t i, PyObject *item) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject *list) noexcept
    PyObject *PyList_GET_ITEM(PyObject *list, Py_ssize_t i) noexcept
    PyObject *PyTuple_GET_ITEM(PyObject *tuple, Py_ssize_t i) noexcept
    Py_ssize_t PyTuple_GET_SIZE(PyObject *tuple) noexcept
    bint PyTuple_CheckExact(PyObject *o) noexcept
    bint PyBytes_CheckExact(PyObject *o) noexcept
    PyObject *new_bytes "PyBytes_FromStringAndSize"(const char *, Py_ssize_t) noexcept
    PyObject *new_list "PyList_New"(Py_ssize_t) noexcept

cdef extern from *:
    """
    static inline PyObject *zs_new_object (PyObject *type, PyObject *args, PyObject *kwargs)
    {
        return ((PyTypeObject *) type)->tp_new ((PyTypeObject *) type, args, kwargs);
    }
    """
    object new_object "zs_new_object"(object type, object args, PyObject *kwargs)

cdef enum:
    FRAMES_ON_STACK = 16  # frames of a message kept on the C stack before a list or heap is used

cdef object _FrameType = zmq.Frame
cdef object _MessageTracker = zmq.MessageTracker
cdef object _finished_tracker = zmq._FINISHED_TRACKER


cdef inline PyObject *new_none() noexcept:
    Py_INCREF(None)
    return <PyObject *> None


cdef inline void replace_only_item(PyObject *single, PyObject *item) noexcept:
    """A list of `item` alone. It takes over the caller's reference."""
    cdef PyObject *old = PyList_GET_ITEM(single, 0)
    PyList_SET_ITEM(single, 0, item)
    Py_XDECREF(old)


# -- in -------------------------------------------------------------------------------------------

cdef inline bytes bytes_in(zmq_msg_t *msg, int size):
    """The content of a received frame. `size` is what zmq_msg_recv() returned."""
    cdef size_t length = size
    if size == INT_MAX:
        length = lib.msg_size(msg)
    return PyBytes_FromStringAndSize(<char *> lib.msg_data(msg), <Py_ssize_t> length)


cdef Frame frame_in(zmq_msg_t *msg, bint more):
    """A received frame as a zmq.Frame, which takes over the memory of `msg`."""
    # Not zmq.Frame(): that parses arguments, and fills fields that are None anyway.
    cdef Frame frame = new_object(_FrameType, (), NULL)
    lib.msg_init(&frame.zmq_msg)  # before anything can fail: its destructor closes it
    lib.msg_move(&frame.zmq_msg, msg)
    frame.more = more
    return frame


cdef list message_in(void *handle, zmq_msg_t *msg, int size, bint copy, int64_t *total):
    """The whole message whose first frame is in `msg`, as a list of bytes or Frames.

    Adds its bytes to `total`. Leaves no frame of it unread, also when memory runs out: the next
    message must start at its own first frame.
    """
    cdef bint more = True
    cdef list message = []
    try:
        while True:
            more = lib.msg_more(msg)
            total[0] += size if size < INT_MAX else <int64_t> lib.msg_size(msg)
            message.append(bytes_in(msg, size) if copy else frame_in(msg, more))
            if not more:
                return message
            size = receive_next(handle, msg)
            if size < 0:
                more = False
                raise zmq_error(lib.last_error())
    except BaseException:
        while more and receive_next(handle, msg) >= 0:
            more = lib.msg_more(msg)
        raise


cdef int receive_next(void *handle, zmq_msg_t *msg) noexcept:
    """Receive a further frame of a message; -1 if the socket or its context has ended."""
    cdef int size
    while True:
        size = lib.msg_recv(msg, handle, DONTWAIT)
        if size >= 0 or lib.last_error() != EINTR:  # a signal may interrupt libzmq's look at its mailbox
            return size


# -- out ------------------------------------------------------------------------------------------

cdef inline int send_msg(zmq_msg_t *msg, void *handle, int flags) noexcept:
    """Hand a frame to libzmq, which empties `msg` if it takes it. Returns < 0 if not."""
    cdef int result = lib.msg_send(msg, handle, flags | DONTWAIT)
    if result >= 0:
        zs_count(ZS_MSGS, -1)
    return result


cdef inline void drop_msg(zmq_msg_t *msg) noexcept:
    lib.msg_close(msg)
    zs_count(ZS_MSGS, -1)


cdef inline Py_ssize_t size_of_frame(PyObject *frame) noexcept:
    if PyBytes_Check(<object> frame):
        return PyBytes_GET_SIZE(<object> frame)
    return lib.msg_size(&(<Frame> frame).zmq_msg)


cdef inline Py_ssize_t size_of(PyObject *frames) noexcept:
    """The bytes of a snapshot: a frame, or a tuple of several."""
    cdef Py_ssize_t i, total = 0
    if not PyTuple_CheckExact(frames):
        return size_of_frame(frames)
    for i in range(PyTuple_GET_SIZE(frames)):
        total += size_of_frame(PyTuple_GET_ITEM(frames, i))
    return total


cdef inline int frame_out(zmq_msg_t *msg, PyObject *frame) noexcept:
    """Fill `msg` with a snapshot's frame: bytes are copied, a Frame's memory is shared.

    Returns 0, or libzmq's error code; then `msg` needs no close.
    """
    cdef Py_ssize_t size
    if PyBytes_Check(<object> frame):
        size = PyBytes_GET_SIZE(<object> frame)
        if lib.msg_init_size(msg, size) < 0:
            return lib.last_error()
        zs_count(ZS_MSGS, 1)
        memcpy(lib.msg_data(msg), PyBytes_AS_STRING(<object> frame), size)
        return 0
    lib.msg_init(msg)
    with cython.critical_section(<object> frame):  # libzmq notes there that it is shared
        if lib.msg_copy(msg, &(<Frame> frame).zmq_msg) < 0:
            return lib.last_error()
    zs_count(ZS_MSGS, 1)
    return 0


cdef inline int message_out(void *handle, int socket_type, PyObject *frames, int flags) noexcept:
    """Hand a queued message to libzmq: `frames` is a frame, or a tuple of several.

    Returns 0, or libzmq's error code; EAGAIN: nothing of it was taken.
    """
    cdef zmq_msg_t msg
    cdef int code
    if PyTuple_CheckExact(frames):
        return multipart_out(handle, socket_type, frames, flags)
    code = frame_out(&msg, frames)
    if code == 0 and send_msg(&msg, handle, flags) < 0:
        code = lib.last_error()
        drop_msg(&msg)
    return code


cdef int multipart_out(void *handle, int socket_type, PyObject *frames, int flags) noexcept:
    """Like message_out(), for several frames.

    All memory is taken before the first frame goes out: a message must not be cut in two.
    """
    cdef zmq_msg_t on_stack[FRAMES_ON_STACK]
    cdef zmq_msg_t *msgs = on_stack
    cdef Py_ssize_t count = PyTuple_GET_SIZE(frames)
    cdef Py_ssize_t ready = 0, sent = 0
    cdef int code = 0
    if count > FRAMES_ON_STACK:
        msgs = <zmq_msg_t *> PyMem_Malloc(count * sizeof(zmq_msg_t))
        if msgs is NULL:
            return ENOMEM
    while ready < count and code == 0:
        code = frame_out(&msgs[ready], PyTuple_GET_ITEM(frames, ready))
        if code == 0:
            ready += 1
    while sent < ready and code == 0:
        if send_msg(&msgs[sent], handle, flags | (SNDMORE if sent + 1 < count else 0)) >= 0:
            sent += 1
            continue
        code = lib.last_error()
        if code == EINTR and sent > 0:
            code = 0  # a signal: the message is half sent, so go on
    if code == EAGAIN and sent > 0 and socket_type != TYPE_PAIR:
        # The pipe has ended. Let libzmq drop the rest now, or it will drop frames of the next attempt.
        # (A PAIR drops nothing: the rest would become a message.)
        drop_msg(&msgs[sent])
        sent += 1
        while sent < ready and send_msg(
            &msgs[sent], handle, flags | (SNDMORE if sent + 1 < count else 0)
        ) >= 0:
            sent += 1
    while sent < ready:
        drop_msg(&msgs[sent])
        sent += 1
    if msgs is not on_stack:
        PyMem_Free(msgs)
    return code


# -- the snapshot of what a caller wants sent -----------------------------------------------------

cdef inline object only_bytes(object message):
    """The only frame of a message, if it is bytes: its snapshot if it is to be copied. Else None."""
    cdef object frame = None
    if type(message) is list and PyList_GET_SIZE(<PyObject *> message) == 1:
        frame = (<list> message)[0]  # not borrowed: without the GIL, another thread may change the list
    elif type(message) is tuple and PyTuple_GET_SIZE(<PyObject *> message) == 1:
        frame = (<tuple> message)[0]
    return frame if PyBytes_CheckExact(<PyObject *> frame) else None


cdef object snapshot(object message, Socket socket, bint copy, bint track, list trackers):
    """What the caller gave, in a form that cannot change: a frame, or a tuple of several.

    Frames are bytes or zmq.Frame. `trackers` gets what pyzmq's send_multipart() would return for
    each frame that is not copied. Raises TypeError naming the frame that cannot be sent, and
    ValueError for an empty message.
    """
    cdef list frames = []
    cdef Py_ssize_t i = 0
    if isinstance(message, (str, bytes)) or not hasattr(message, "__iter__"):
        raise TypeError(
            f"a multipart message is a list of frames, not {type(message).__name__}: {message!r:.60}")
    for frame in message:
        frames.append(snapshot_frame(frame, i, socket, copy, track, trackers))
        i += 1
    if i == 0:
        raise ValueError("a message needs at least one frame, and this one is empty")
    return frames[0] if i == 1 else tuple(frames)


cdef object FRAME_TYPE = zmq.Frame


cdef bint is_made(Frame frame) except -1:
    """Whether libzmq accepts it as a message. A subclass may not have called __init__()."""
    cdef zmq_msg_t copy
    lib.msg_init(&copy)
    if lib.msg_copy(&copy, &frame.zmq_msg) < 0:
        return False
    lib.msg_close(&copy)
    return True


cdef object snapshot_frame(
    object frame, Py_ssize_t i, Socket socket, bint copy, bint track, list trackers
):
    if isinstance(frame, Frame):
        if type(frame) is not FRAME_TYPE and not is_made(frame):
            raise TypeError(f"frame {i} is a {type(frame).__name__} whose __init__() was never called")
        tracker = (<Frame> frame).tracker
        if track and not tracker:
            raise ValueError(
                f"frame {i} is a zmq.Frame that was made without track=True: not a tracked message")
        if tracker is not None:
            trackers.append(tracker)
        return frame
    if copy:
        if PyBytes_Check(frame):
            return frame
    elif PyObject_CheckBuffer(frame):
        if memoryview(frame).nbytes >= socket.copy_threshold:
            shared = zmq.Frame(frame, track=track, copy=False)
            if track:
                trackers.append(shared.tracker)
            return shared
        trackers.append(_finished_tracker)
        if PyBytes_Check(frame):
            return frame
    if not PyObject_CheckBuffer(frame):
        hint = ": encode it, or use send_string()" if isinstance(frame, str) else ""
        raise TypeError(
            f"frame {i} is {type(frame).__name__}, which does not support the buffer interface; "
            f"a frame is bytes, another bytes-like object or a zmq.Frame{hint}"
        )
    return memoryview(frame).tobytes()


cdef object tracker_of(list trackers):
    """One tracker for a whole message, or None if no frame of it is tracked."""
    cdef list pending = [t for t in trackers if t is not _finished_tracker]
    if pending:
        return pending[0] if len(pending) == 1 else _MessageTracker(*pending)
    return _finished_tracker if trackers else None
