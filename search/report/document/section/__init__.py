"""The sections of a report: each is made of an overview of the study, in a file of its own."""
