"""A model on disk: what is in it, reading, writing and running it; the contract between training and recognition."""
