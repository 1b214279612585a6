"""Metrics for Prometheus: counted by the recorder from what it stores, written once a second, served by workers."""
