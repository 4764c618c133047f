"""Tests: a package, so that a library which installs one of the same name does not come first."""
