"""The parts of the cart tracker: likelihoods, who stood there, explanations, decisions.

``edge/cart_tracker.py`` puts them together; ``docs/CARTS.md`` has the model.
"""
