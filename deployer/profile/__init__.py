"""Resource profiles: how many requests a second a configuration carries, and which is the cheapest. Pure."""
