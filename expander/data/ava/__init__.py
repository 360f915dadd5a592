"""Action detection: people's boxes at key frames of videos, as AVA has them."""
