"""The commands of the command line. Thin; heavy imports happen inside the functions."""
