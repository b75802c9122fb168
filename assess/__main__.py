"""`python -m assess` is `assess`."""

from assess.cli import main

if __name__ == "__main__":
    main()
