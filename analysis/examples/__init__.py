"""Generated records, to show and test the analysis."""
