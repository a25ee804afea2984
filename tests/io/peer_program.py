"""A node of nothing but links, in a process that may be killed or frozen: peer_program.py [PORTS].

Dials "me" at these two ports, or accepts it; says first at which ports it listens itself.
"""

import sys
import time

from edgeflow.config import NodeConfig
from edgeflow.io.links import Links
from edgeflow.messages import Endpoint


def main() -> None:
    ports = [int(text) for text in sys.argv[1:]]
    config = NodeConfig(name="peer", tensors_port=0, signals_port=0)
    links = Links(node="peer", session=1, config=config)
    links.open("me", 1, (Endpoint("127.0.0.1", *ports),) if ports else (), "")
    end = links.endpoints[0]
    sys.stdout.write(f"{end.tensors_port} {end.signals_port}\n")
    sys.stdout.flush()
    while True:
        links.receive(time.monotonic())
        time.sleep(0.005)


if __name__ == "__main__":
    main()
