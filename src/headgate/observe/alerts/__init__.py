"""Alerts: rules over calls, evaluated in the recorder's process, told to receivers at least once and not again."""
