"""Kernels of our own: channel-wise convolution, norms and activations, in numba (CPU) and Triton (GPU)."""
