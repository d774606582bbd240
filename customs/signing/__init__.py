"""The card: one small port, a PKCS#11 token or a key file behind it."""
