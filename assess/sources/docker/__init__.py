"""Docker engines: asked, or from what their command line prints."""
