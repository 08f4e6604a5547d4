"""What a person takes away: configurations, bundles, reports, tables and figures."""
