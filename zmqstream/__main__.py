"""python -m zmqstream: see `python -m zmqstream --help`, and zmqstream/_cli."""

from zmqstream._cli import main

if __name__ == "__main__":
    main()
