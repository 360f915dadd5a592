"""What a network costs when it is run: multiply-adds by fvcore, latency, memory."""
