"""`tally live`: what is spent, as it is spent, on the whole screen."""
