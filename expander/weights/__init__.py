"""Weights in files: ours (safetensors), and those of SlowFast, PyTorchVideo and MMAction2, both ways."""
