"""Hypotheses and references → error counts and reports."""
