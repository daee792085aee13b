"""Everything that is refused, in which words, and inputs made at random that must not break it."""
