"""CTC models that other toolkits trained → bundles."""
