"""The report of a study as one page, as Markdown and as a picture."""
