"""The shell: observe, decide, perform, journal."""
