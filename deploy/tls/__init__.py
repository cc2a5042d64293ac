"""Certificates: made, read and judged, as values. No clock, no network and no files."""
