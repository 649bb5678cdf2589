"""What is known of each track: lists, tags, features on disk, and the data set as one object."""
