"""One proxy training: a candidate of a search, its folder, its loop."""
