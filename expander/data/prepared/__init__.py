"""Prepared data sets: every video once as small H.264 with short closed groups of pictures."""
