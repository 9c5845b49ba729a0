"""`python -m workbench.train RUN_DIR`: trains one run and writes its record."""

import sys

from workbench.train.run import main

if __name__ == "__main__":
    sys.exit(main())
