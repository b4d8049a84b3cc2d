"""Store → bundle: batches, augmentation, the training loop, checkpoints, export. All of it needs torch."""
