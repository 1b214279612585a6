"""Traces: what is recorded, told to an OpenTelemetry collector as spans."""
