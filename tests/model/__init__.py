"""A model of streams: what they must deliver, send and report after any sequence of actions.

A `World` (world.py) is a `Backend` (support/backends.py) with links between sockets (links.py). One
end of a link is a stream (stream.py; outbox.py has its sends). The other end is one or several
streams or raw sockets (ends.py). Tasks await something of a stream (tasks.py). `world.do(action)`
does an action (actions.py): outside of the loop, in a callback (callbacks.py) or in a handle of the
loop. The model does not predict how far a loop gets. Each callback checks its arguments, and
`world.quiet()` runs the loop until everything has happened that must happen.

Each message has a number, which is in one of its frames. A `Pipe` knows the messages in transit
between two ends. It has two lanes, which are each in order: one for a stream's queue, one for sends
on the raw socket. How the messages of the two lanes mix is known within bounds.

A dropped message (flow.py), an expired message and a message of a cancelled task leave the stream
before the model learns about it. Until then, later messages may arrive first. In the end each
message must have exactly one outcome, and arrive only if that outcome is success. tally.py compares
the outcomes with stats().

monitor.py has the events of the streams' sockets, and binds endpoints to cause events.

test_model.py lets hypothesis choose the actions; tools/soak.py chooses them by a seed.
"""
