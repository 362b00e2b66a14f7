"""What cells would cost, and what would fit which card, without running them on a device.

`client` keeps the processes that count on fake tensors, `plan` asks them about every cell of a
sweep, `frontier` searches for the largest T and batch that fit a card; `cards` and `allowance` say
what a card offers and what a process needs beyond its tensors. Nothing here imports torch.
"""
