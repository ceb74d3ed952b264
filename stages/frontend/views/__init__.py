"""Views: one utterance made to sound, or look, like another recording of the same."""
