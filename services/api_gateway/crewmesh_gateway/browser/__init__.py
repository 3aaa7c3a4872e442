"""What browsers need beside the API: the console's files, and sessions in cookies."""
