# Errors: libzmq's codes become exceptions here and nowhere else. What cannot be raised to a caller is
# reported here.

_logger = logging.getLogger("zmqstream")

# numbered by libzmq itself where the operating system has no such error
cdef int ENOTSOCK = zmq.ENOTSOCK
cdef int ENOTSUP = zmq.ENOTSUP


cdef object zmq_error(int code):
    """The exception that pyzmq raises for libzmq's error `code`."""
    if code == EAGAIN:
        return zmq.Again(code)
    if code == ETERM:
        return zmq.ContextTerminated(code)
    return zmq.ZMQError(code)


cdef double number_of(object value, str what) except? -1:
    """A number that a user gave."""
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"{what} must be a number, not {type(value).__name__}: {value!r:.60}")


cdef int raise_pending() except -1:
    """Raise the exception that a C API call has left pending."""
    return -1


cdef int report_pending(object loop, str what, object source, object callback) except -1:
    """Report the pending exception, once, through the loop.

    KeyboardInterrupt and SystemExit are raised on, as asyncio does.
    """
    try:
        raise_pending()
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        report(loop, what, source, callback, error)
    return 0


cdef bint is_tornado(object io_loop) except -1:
    cdef object theirs = getattr(sys.modules.get("tornado.ioloop"), "IOLoop", None)
    return theirs is not None and isinstance(io_loop, theirs)


cdef str name_of(object source):
    """repr(), which must not fail here: a subclass may have one of its own."""
    try:
        return repr(source)
    except Exception:
        pass
    return object.__repr__(source)


cdef int report(object loop, str what, object source, object callback, object error) except -1:
    cdef str message = f"Exception in {what} of {name_of(source)}"
    if is_tornado(getattr(source, "io_loop", None)) and loop.get_exception_handler() is None:
        # where pyzmq's class logs it, and where Tornado's programs look for it
        if callback is not None:
            message = f"Uncaught exception in ZMQStream callback: {message}"
        logging.getLogger("tornado.general").error("%s", message, exc_info=error)
        return 0
    loop.call_exception_handler({
        "message": message,
        "exception": error,
        "callback": callback,
        "stream": source,
    })
    return 0
