"""Networks made of an encoder, banks of function blocks, and a router."""
