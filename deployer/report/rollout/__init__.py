"""The evidence of one rollout: as a page, JSON, Markdown and JUnit XML, all made from one record."""
