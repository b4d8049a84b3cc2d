"""The version of the package, which bundles, reports and clusters state."""

__version__ = "0.1.0"
