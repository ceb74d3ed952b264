"""Corpora: one reader a corpus, from a folder of audio to a manifest."""
