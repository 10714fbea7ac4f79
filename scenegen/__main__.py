"""Run the command line as `python -m scenegen`."""

from scenegen.cli import main

if __name__ == "__main__":
    main()
