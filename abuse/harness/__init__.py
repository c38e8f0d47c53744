"""What all attacks share."""
