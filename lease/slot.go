package lease

// Slot returns the number of the slot that the lease has of a key that several hold
// at once (lock.Limit), from 0, and -1 for the lease of an exclusive lock. No other
// holder of the key has the same slot at the same time.
func (l *Lease) Slot() int { return l.engine().Slot() }
