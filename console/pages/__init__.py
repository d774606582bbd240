"""The pages: the portal's own two, and the way of a sheet from upload to result (docs/manual.zh.md)."""
