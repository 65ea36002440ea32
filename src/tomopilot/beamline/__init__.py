"""Live scans driven by a control system."""
