"""``python -m pipeline.cli``: the same as ``etl``."""

from pipeline.cli.entry import main

if __name__ == "__main__":
    main()
