"""How far runs differ: comparisons, their estimates and tests, languages, provenance, and the result."""
