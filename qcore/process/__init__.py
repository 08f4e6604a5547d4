"""What a process of ours does about itself: the memory it keeps, the parent it ends with."""
