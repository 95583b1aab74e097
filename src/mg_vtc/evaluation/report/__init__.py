"""Self-contained HTML report of an evaluation, and its figures."""
