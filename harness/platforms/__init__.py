"""What methods run on: this host, the Docker engine, an image registry."""
