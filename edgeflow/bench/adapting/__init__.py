"""How plans follow what changes, in a lab: what was best when, how soon it ran, what it cost."""
