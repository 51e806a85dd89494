"""An audit: from a base model and candidates to a verdict, step by step."""
