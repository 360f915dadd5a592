"""Frames of video files: who may decode a file, which frames a clip or a view takes, and their pixels."""
