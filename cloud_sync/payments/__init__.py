"""Payment providers: one file each, requests out and answers in. Imitate ``broker.py``."""
