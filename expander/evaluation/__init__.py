"""The multi-view test of a network, its metrics, and a network as a classifier of video files."""
