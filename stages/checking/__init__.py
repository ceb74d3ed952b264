"""What the corpus doctor looks at: sound, twins, an overview, and cautions for training."""
