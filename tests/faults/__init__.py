"""What `tests.faults` is made of: small sweeps in child processes, blows that hit them, and what must remain."""
