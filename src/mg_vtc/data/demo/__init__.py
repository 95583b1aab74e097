"""The drawn demo data set."""
