"""A Ray cluster on this machine: prints its address, kills the node of each process id it reads, adds others.

Each node has a cache of its own, in a folder `node<N>` of the working folder.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ray.cluster_utils import Cluster

from expander.backends.processes import descendants


def add(cluster: Cluster, number: int) -> None:
    """One more node, with one CPU. Compiled kernels are those of all."""
    own = Path(f"node{number}").absolute()
    (own / "expander").mkdir(parents=True)
    (own / "expander" / "kernels").symlink_to(Path(os.environ["XDG_CACHE_HOME"], "expander", "kernels"))
    cluster.add_node(num_cpus=1, env_vars={"XDG_CACHE_HOME": str(own)})


def main() -> None:
    """Until an empty line comes."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    for number in range(2):
        add(cluster, number)
    print(cluster.address, flush=True)
    try:
        for line in sys.stdin:
            if not line.strip():
                break
            if line.strip() == "add":
                add(cluster, len(list(Path().glob("node*"))))
                print("added", flush=True)
                continue
            for raylet in (p for p in descendants(os.getpid()) if p.name == "raylet"):
                below = descendants(raylet.pid)
                if int(line) in {process.pid for process in below}:
                    for process in (raylet, *below):
                        os.kill(process.pid, signal.SIGKILL)
            print("killed", flush=True)
    finally:
        cluster.shutdown()


if __name__ == "__main__":
    main()
