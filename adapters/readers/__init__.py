"""Readers: logs of lm-eval, Inspect and the upstream evals to records."""
