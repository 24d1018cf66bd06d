"""Training one run on several devices."""
