"""The two benchmarks as tasks of lm-evaluation-harness itself: the templates of their files, and what writes them."""
