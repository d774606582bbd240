"""The console: pages for people and an API for programs; the same services as the command's. A process of its own."""
