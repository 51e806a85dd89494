"""Results shown: terminal, JSON, tables, LaTeX and figures."""
