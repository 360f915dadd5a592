"""Data sets: annotation files, class folders, the lists of a run, and clips of them as tensors."""
