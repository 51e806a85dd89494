"""Benchmarks of users: from a table to a benchmark's folder, and the trial of a definition."""
