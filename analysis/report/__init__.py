"""Output of results: terminal, JSON, tables, LaTeX and figures."""
