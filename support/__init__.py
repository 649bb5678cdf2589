"""Helpers that know nothing of music: errors, flags, files, threads, pictures."""
