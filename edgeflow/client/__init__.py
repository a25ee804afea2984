"""A process that submits frames: `flow` (deploy, submit, look around), `driver` (load)."""
