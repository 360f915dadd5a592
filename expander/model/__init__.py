"""The X3D network: `network.X3D` is the definition, `fused_forward` the same by kernels of our own."""
