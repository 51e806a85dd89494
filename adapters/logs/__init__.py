"""Logs of lm-eval, of Inspect and of the upstream evals, read as records."""
