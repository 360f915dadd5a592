"""A run on disk: its journal, the events in it, and results that another run may take over."""
