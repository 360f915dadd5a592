"""The search itself: pure functions of values. No torch, no ray, no clock, no disk."""
