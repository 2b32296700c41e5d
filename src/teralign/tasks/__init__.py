"""One function for each command: volumes, transforms, registration and blocks meet here."""
