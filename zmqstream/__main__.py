"""python -m zmqstream: see `python -m zmqstream --help`, and zmqstream/_cli."""

from zmqstream._cli.dispatch import main

if __name__ == "__main__":
    main()
