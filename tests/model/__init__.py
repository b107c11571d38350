"""A model of streams: what must be delivered, sent and reported, whatever was done before.

A `World` (world.py) is a `Backend` (support/backends.py) with some links of sockets (links.py) on
it. At one end of a link is a stream (stream.py; what it sends: outbox.py), at the other a stream or
a raw socket (ends.py), or several. Tasks await something of a stream (tasks.py).
`world.do(action)` does something to them (actions.py): from outside of the loop, in a callback
(callbacks.py) or in a handle of the loop. The model does not foresee how far a loop gets: each
callback checks what it is called with, and `world.quiet()` runs the loop until everything has
happened that must.

Each message has a number, which one of its frames tells. A `Pipe` knows the messages that are
under way between two ends, in two lanes that are each in order: what went through a stream's
queue, and what was sent on the raw socket. How the two mix is known within bounds.

What a stream drops (flow.py), what expires and what a task takes back has gone when the stream says
so, and the model hears of it later. Until then others may overtake it; then it must have exactly
one outcome, and not arrive unless that says so. tally.py compares the outcomes with stats().

monitor.py has the events of the streams' sockets, and binds endpoints so that there are some.

test_model.py lets hypothesis choose the actions, tools/soak.py a seed.
"""
