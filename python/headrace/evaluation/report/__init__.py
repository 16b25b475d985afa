"""An evaluation in words, pictures and pages."""
