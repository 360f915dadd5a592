"""Films that are written: prepared videos, drawn ones."""
