"""`python -m teralign`."""

from teralign.cli.main import main

if __name__ == "__main__":
    main()
