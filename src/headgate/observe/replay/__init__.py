"""Replays: a recorded call sent again, elsewhere or otherwise, and compared; or its failure played from the record."""
