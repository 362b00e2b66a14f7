"""What trials said: kept, published, compared, and what follows from it."""
