"""The fire test: writers, readers, killed commands and broken servers at once; then every document is compared."""
