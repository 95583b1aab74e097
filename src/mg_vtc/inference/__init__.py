"""Answering with a trained model: smaller and faster forms of it."""
