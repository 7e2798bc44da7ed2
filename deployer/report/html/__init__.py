"""Pages and charts: self-contained HTML that needs no script and asks nobody for anything."""
