"""What the engine needs of the world, as protocols whose docstrings are the contract."""
