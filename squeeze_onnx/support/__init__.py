"""What every stage uses: errors, progress, staged writes and locks, typed fields, downloads."""
