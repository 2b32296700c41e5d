"""Makes the modules beside this file, such as `phantoms`, importable from the tests of every room."""
