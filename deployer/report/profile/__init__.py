"""A profile told: as a record, in words, as JUnit XML, as a page, and while it runs."""
