"""Training: the short one of a candidate (`trial`) and the full one of a network (`trainer`)."""
