"""One call: endpoints, requests, the aiohttp adapter, sessions, retries, deadlines, errors, transfers of files."""
