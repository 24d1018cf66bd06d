"""What is wrong with a data set's rows, as values: one file per kind of finding."""
