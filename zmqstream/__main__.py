"""python -m zmqstream: see `python -m zmqstream --help`. The code is in zmqstream/_cli."""

from zmqstream._cli.dispatch import main

if __name__ == "__main__":
    main()
