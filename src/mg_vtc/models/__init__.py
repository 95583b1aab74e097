"""Configurations, models and processor; the configuration and modeling files ship to the Hub."""
