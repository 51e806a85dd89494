"""Judges: models that Inspect can reach, the lexical judge, and the journal of replies."""
