"""The command line ``etl``."""
