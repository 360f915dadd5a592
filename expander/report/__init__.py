"""Tables, figures and pages of runs: all read from their folders."""
