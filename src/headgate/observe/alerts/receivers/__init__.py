"""Receivers: one module per way in which an alert is told."""
