"""What tests are made of: real parts, sheets and orders to begin with, and eyes."""
