"""What a load test found: as text, JSON, Markdown, JUnit XML and a page."""
