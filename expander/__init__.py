"""expander: grow a video network, one axis at a time, to a budget of multiply-adds."""

__version__ = "0.1.0"
