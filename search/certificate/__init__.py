"""Whether one configuration is really better than another: the interval, and what it says."""
