package cache

// Mute has the changes that s makes from now on told on another channel than the one that anybody listens to.
func (s *Cache[V]) Mute() { s.cfg.Prefix = "unheard:" }
