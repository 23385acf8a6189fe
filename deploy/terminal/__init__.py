"""What all commands share: options, messages, tables, progress bars, temporary files."""
