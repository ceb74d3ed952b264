"""What is done, one file a stage, and the recipe that composes the rooms below."""
