"""A local, read-only web page over journals and endpoints. Nothing in it can write: it never takes a lease."""
