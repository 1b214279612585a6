"""The journal: finished Records on disk before their answer's last frame goes out (DESIGN §5)."""
