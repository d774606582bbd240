"""Spreadsheets: reading uploads, templates, result sheets."""
