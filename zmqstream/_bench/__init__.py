"""The benchmarks' definitions: what is measured, how, and what it is held against.

They come with the package, so everyone who has installed it can measure. The command
`python -m zmqstream bench` runs them, and so does `pytest bench` in the checkout.
"""
