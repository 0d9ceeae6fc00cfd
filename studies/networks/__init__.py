"""Networks that others wrote, and what it took to make flows of them; see README.md."""
