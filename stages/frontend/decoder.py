"""What decodes audio, and which of its revisions are not to be trusted any more."""

DECODER = "libsndfile 1"
"""The decoder, and the revision of our use of it (`stages.frontend.audio`).

The revision is raised by hand when the same bytes give other samples, or are refused or taken anew.
"""

WITHDRAWN: frozenset[str] = frozenset()
"""Decoders' revisions that gave wrong samples or reasons: what they made is made again."""
