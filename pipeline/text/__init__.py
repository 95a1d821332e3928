"""What people are shown: without secrets, and without characters that bend a terminal."""
