"""Other libraries: each module imports its own only when it is used."""
