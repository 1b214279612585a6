"""Leases in a store: SQLite for the workers of one machine, Postgres for those of many."""
