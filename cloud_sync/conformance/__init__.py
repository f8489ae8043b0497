"""The retailers' test plan, run against a server: ``walkout retailer check``."""
