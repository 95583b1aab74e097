"""Raw releases of published data sets: read their labels and videos, and prepare them for training."""
