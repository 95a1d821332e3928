"""What the copy makes of documents: decoded, normalised, validated, in batches."""
