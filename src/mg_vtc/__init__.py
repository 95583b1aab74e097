"""Micro-gesture classification by contrasting pictures with the names of the gestures."""

__version__ = "0.1.0"
