"""A live scan to the outside: over HTTP, on a page, in plans of control systems."""
