"""The commands that look at data: inspect, validate, report and compare."""
