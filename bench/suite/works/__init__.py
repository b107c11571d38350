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
        fairness,
        imports,
    )
    for work in module.WORKS
]
