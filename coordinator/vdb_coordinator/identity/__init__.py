"""Who is who: certificates, invitations, the trust root, the roster."""
