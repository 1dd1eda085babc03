"""Backups of a whole deployment while it runs, and what makes a deployment of one again."""
