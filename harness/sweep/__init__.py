"""What a sweep file asks for: the file, the trials that it names, what the library offers."""
