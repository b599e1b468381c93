package cache

// canTag is why tags can not be used, if they can not.
func (s *Cache[V]) canTag() error {
	for _, n := range s.nodes {
		if n.Sharded() {
			return fieldError("Tags", "node %s is a Redis Cluster, whose scripts can not read an entry and its tags together; use single servers", n.Name())
		}
	}
	s.tagged.Store(true)
	return nil
}
