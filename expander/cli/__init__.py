"""The command line. Thin; heavy imports happen inside the functions."""
