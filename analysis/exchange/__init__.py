"""Results for others: evidence that can be checked, and other projects' formats."""
