"""What a user would pick instead, run beside twokey; each in an environment of its own."""
