"""Evaluation of a model: scores, intervals, comparison and report."""
