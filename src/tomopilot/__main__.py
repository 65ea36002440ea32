"""`python -m tomopilot`."""

from tomopilot.cli import main

if __name__ == "__main__":
    main()
