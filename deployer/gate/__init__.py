"""Is the candidate good enough? Histograms in, verdict and evidence out. Pure; it never writes and never waits."""
