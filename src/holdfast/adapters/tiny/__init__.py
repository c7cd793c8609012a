"""A tiny chat language model in this process: tokenizer, weights and a transformer in numpy (see ``models/``)."""
