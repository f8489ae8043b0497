"""Bytes <-> packets. Pure: no ports, no clock; shared by drivers, simulator and firmware tests."""
