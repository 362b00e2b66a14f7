"""What runs in a process of its own, with torch and the library; nothing else imports them."""
