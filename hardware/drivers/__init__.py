"""Drivers: one task a device, from bytes to observations. They open ports; see README.md beside."""
