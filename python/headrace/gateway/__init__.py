"""The gateway: an app in OpenAI's format that answers by a cascade, its page, and its settings."""
