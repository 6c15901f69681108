"""Page for people: bounded state folded from the public topics, pushed to browsers, and the sample shop."""
