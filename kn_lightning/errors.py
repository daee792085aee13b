"""The one exception that means "your input": shown as one line, exit code 2."""


class InputError(ValueError):
    """Bad input: the message names the file, line or flag, the value, and what to do."""
