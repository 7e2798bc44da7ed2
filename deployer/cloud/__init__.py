"""Azure itself, under every adapter that needs it: which cloud, who asks, and one careful way to call ARM."""
