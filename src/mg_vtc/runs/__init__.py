"""Folders of runs: file names, checkpoints, records and provenance."""
