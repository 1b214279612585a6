"""Erasing what a store and a data directory hold of one end user."""
