"""Feature and audio stores: memory-mapped Arrow shards, which preparation writes and training reads."""
