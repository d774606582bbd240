"""The mapped classes, one file a thing, and what reading and writing many rows at once takes."""
