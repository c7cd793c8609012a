"""The shipped tools, one a file; ``kinds`` says which kind of an agent file is which."""
