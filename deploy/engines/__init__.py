"""Where a job runs: on this machine, or on an engine elsewhere, and what that costs."""
