"""How far runs differ: paired differences, designs of several arms, languages, and what must be said first."""
