"""The folder of a run: which files it holds, and where they come from."""
