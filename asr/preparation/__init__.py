"""Corpora → feature stores: facts about a corpus in, memory-mapped Arrow shards out."""
