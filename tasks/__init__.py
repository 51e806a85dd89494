"""The questions and the scoring of answers. No harness, no network, no model."""
