"""From the bytes of a file to rows: container, encoding, dialect, format."""
