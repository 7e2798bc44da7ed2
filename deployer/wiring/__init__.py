"""The only package that names concrete adapters: from a manifest's words to objects that reach the world."""
