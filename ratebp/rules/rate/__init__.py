"""Rate-based backpropagation: a spike pass that records, a rate pass that replays."""
