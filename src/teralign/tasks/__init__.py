"""What the commands do, one function each: where volumes, transforms, registration and blocks meet."""
