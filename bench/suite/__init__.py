"""The benchmarks' definitions: what is measured, how, and what it is held against.

Installed as zmqstream._bench.suite (see zmqstream/_bench/__init__.py), so that whoever has the
package can measure; `python -m zmqstream bench` and `pytest bench` run what is here.
"""
