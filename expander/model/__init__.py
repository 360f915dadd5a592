"""The X3D network: `network.X3D` is the definition, `cpu_forward` the same function laid out for CPUs."""
