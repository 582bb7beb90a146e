"""Untrusted media files, decoded in confined processes of their own: what they read, how they are kept in, who asks them."""
