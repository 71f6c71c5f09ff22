"""The quickstart: a tour through what the package does, on tasks that come with it."""
