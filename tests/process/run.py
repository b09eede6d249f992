"""run.py MODULE SECONDS: the tests of a module; after so many seconds, where every thread is."""

import faulthandler
import sys
import unittest

if __name__ == "__main__":
    module, seconds = sys.argv[1:]
    faulthandler.dump_traceback_later(float(seconds), exit=True)
    unittest.main(module=module, argv=[module, "-v"])
