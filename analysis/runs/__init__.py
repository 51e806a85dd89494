"""Runs in: files of either harness to records, records to one row per question, runs aligned with each other."""
