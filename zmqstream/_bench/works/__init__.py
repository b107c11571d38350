"""The works, in the order they are run: each module here has a list WORKS."""

from . import (
    awaiting,
    cost,
    echo,
    fairness,
    fan,
    flood,
    flush,
    idle,
    imports,
    receive,
    requests,
    send,
    stalled,
    timer,
)

WORKS = [
    work
    for module in (
        receive,
        flush,
        send,
        awaiting,
        flood,
        fan,
        echo,
        requests,
        idle,
        cost,
        timer,
        stalled,
        fairness,
        imports,
    )
    for work in module.WORKS
]
