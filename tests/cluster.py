"""A Ray cluster on this machine: prints its address, kills the node of each process id it reads."""

from __future__ import annotations

import os
import signal
import sys

from ray.cluster_utils import Cluster

from expander.backends.processes import descendants


def main() -> None:
    """Until an empty line comes."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
    print(cluster.address, flush=True)
    try:
        for line in sys.stdin:
            if not line.strip():
                break
            for raylet in (p for p in descendants(os.getpid()) if p.name == "raylet"):
                below = descendants(raylet.pid)
                if int(line) in {process.pid for process in below}:
                    for process in (raylet, *below):
                        os.kill(process.pid, signal.SIGKILL)
            print("killed", flush=True)
    finally:
        assert nodes
        cluster.shutdown()


if __name__ == "__main__":
    main()
