"""Pages: server-rendered, small ES modules, a .json twin of every page."""
