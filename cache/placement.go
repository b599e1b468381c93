package cache

// placement maps a key to its nodes by rendezvous hashing: each node has a
// score for each key, and the node with the highest score owns it. When a node
// is added or removed, only the keys that it owns move.
type placement []uint64 // a number for each node, from its name

func newPlacement(names []string) placement {
	p := make(placement, len(names))
	for i, name := range names {
		p[i] = fnv(name)
	}
	return p
}

// of returns the indexes of the owner of key and of its stand-in, which is -1
// if there is only one node. Every process that uses the same names of nodes
// gets the same result, whatever their order.
func (p placement) of(key string) (owner, standIn int) {
	h := fnv(key)
	var first, second uint64
	owner, standIn = -1, -1
	for i, node := range p {
		switch score := mix(h ^ node); {
		case owner < 0 || score > first:
			standIn, second = owner, first
			owner, first = i, score
		case standIn < 0 || score > second:
			standIn, second = i, score
		}
	}
	return owner, standIn
}

// fnv is the 64-bit FNV-1a hash.
func fnv(s string) uint64 {
	h := uint64(14695981039346656037)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * 1099511628211
	}
	return h
}

// mix spreads every bit of h over all (the finalizer of splitmix64).
func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
