"""Store → bundle: batches, augmentation, the training loop, checkpoints, export. All but `config` needs torch."""
