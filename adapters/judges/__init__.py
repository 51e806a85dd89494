"""Judges: models that Inspect can reach, the lexical one, and the journal of what they said."""
