"""The pages in a real browser, on a system of real processes."""
