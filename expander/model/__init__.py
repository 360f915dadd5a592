"""The X3D network: `network.X3D` is the definition, `cpu` the same function laid out for CPUs."""
