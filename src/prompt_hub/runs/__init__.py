"""Records of work. Knows nothing of prompts."""
