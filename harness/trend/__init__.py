"""What changes over months: a small file a run, steps in its series, exports for other services.

`figures` summarises a sweep's results to its headline figures, `history` keeps them in git, `steps`
finds where a series moved, `exports` writes them as other tools read them. Nothing here blocks a
change: that is the gate's business.
"""
