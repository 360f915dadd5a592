"""What the commands print while they run."""
