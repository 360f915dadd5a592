"""Kernels for the frames of videos, on a CPU."""
