"""Sessions: conversations with crews, and what crews remember."""
