"""The command line: `parser` says what can be asked, one module per group of commands does it."""
