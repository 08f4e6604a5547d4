"""Ports for servers that tests start."""

import itertools
import os
import socket
from contextlib import suppress

# below those that systems give to connections going out; far from those of other test processes
PORTS = itertools.count(20_000 + 31 * os.getpid() % 10_000)


def free_port() -> int:
    """A port of this machine that nobody listens on, and that no server here was given before."""
    while True:
        port = next(PORTS)
        with suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", port))
            return port
