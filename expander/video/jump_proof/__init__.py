"""Whether a reader may jump within a video: what its packets prove."""
