"""The command line with a mechanism taken away: ``python -m tests.system.mutated_cli``, MUTANT names which."""

import os

from streams.cli.main import main
from tests.engine.mutants import mutated

if __name__ == "__main__":
    with mutated(os.environ["MUTANT"]):
        main()
