"""What a network is and what it costs, as values: no torch, nothing read or written."""
