"""The processes of the network, one folder each. A node never imports another node; they meet on the wire."""
