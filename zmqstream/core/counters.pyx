# Debug counters, in builds with ZMQSTREAM_COUNTERS=1.


def counters():
    """What was counted since the module was loaded, by name; None in an ordinary build.

    `idle`, `armed`, `ready`, `closed` and `forked` are sources alive; `msgs` are the core's own
    zmq_msg_t. When no operation is under way, `msgs` is 0, `received` is `delivered + dropped +
    given_up`, and `queued` is `sent + failed + unsent` and what the queues hold.
    """
    if not zs_counting:
        return None
    return {
        "idle": zs_counted(ZS_SOURCES + <int> IDLE),
        "armed": zs_counted(ZS_SOURCES + <int> ARMED),
        "ready": zs_counted(ZS_SOURCES + <int> READY),
        "closed": zs_counted(ZS_SOURCES + <int> CLOSED),
        "forked": zs_counted(ZS_SOURCES + <int> FORKED),
        "msgs": zs_counted(ZS_MSGS),
        "received": zs_counted(ZS_RECEIVED),
        "delivered": zs_counted(ZS_DELIVERED),
        "dropped": zs_counted(ZS_DROPPED),
        "given_up": zs_counted(ZS_GIVEN_UP),
        "queued": zs_counted(ZS_QUEUED),
        "sent": zs_counted(ZS_SENT),
        "failed": zs_counted(ZS_FAILED),
        "unsent": zs_counted(ZS_UNSENT),
        "swept": zs_counted(ZS_SWEPT),
        "repaired": zs_counted(ZS_REPAIRED),
    }
