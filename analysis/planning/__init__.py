"""Before anything is spent: calls, tokens, money, power, and training data that leaks the questions."""
