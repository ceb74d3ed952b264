"""Front end: audio file to log-Mel windows."""
