"""Tests of what decides without a server: verdicts, the page, the options, the records."""
