"""The parts of the sampler `bayes`: encoding, kernel, posterior, acquisition."""
