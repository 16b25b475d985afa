"""From beliefs to the budget path: profiles, walks, settings, exchange rates, guarantees."""
