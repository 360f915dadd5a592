"""What a network costs when it is run: latency, memory."""
