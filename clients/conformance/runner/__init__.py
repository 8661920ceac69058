"""The parts of the suite: server, proxy, adapter, cases, expectations."""
