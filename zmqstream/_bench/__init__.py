"""The definitions of the benchmarks.

They are part of the package, so every user can measure. `python -m zmqstream bench` runs them, as
does `pytest bench` in the checkout.
"""
