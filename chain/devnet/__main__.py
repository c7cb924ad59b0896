"""`python -m chain.devnet --datadir D --port 0` starts one devnet; see `command.main`."""

import sys

from chain.devnet.command import main

sys.exit(main())
