"""Evidence per service: tables, answers, checks."""
