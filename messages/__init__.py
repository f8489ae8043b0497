"""The vocabulary of Walkout: observations, events, commands, store configuration, codec.

Depends on nothing else of ours. Start at ``catalogue.py``: one table of every message.
"""
